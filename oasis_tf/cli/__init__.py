"""What every command shares: flagfiles by name, errors as one line, exit codes."""
