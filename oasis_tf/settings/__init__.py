"""Settings, their flags, and the configuration of a run that they make up."""
