"""Tables of several trainings."""
