"""What a setting is, its flag, and how settings become the configuration of a run."""
