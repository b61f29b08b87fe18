"""Files that are whole or absent; images, label files, weight files; progress of long work."""
