"""Files: whole or absent; pictures, label files, published weights; progress of long work."""
