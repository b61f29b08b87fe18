"""The networks of the system `one_shot`."""
