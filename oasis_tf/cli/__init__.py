"""Shared by all commands: flagfiles by name, errors as one message, exit codes."""
