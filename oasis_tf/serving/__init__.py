"""What the serving signatures of every system share: checks and pictures inside a graph."""
