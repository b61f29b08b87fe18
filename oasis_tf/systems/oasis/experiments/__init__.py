"""Experiments of the papers that train several networks. Each has a command."""
