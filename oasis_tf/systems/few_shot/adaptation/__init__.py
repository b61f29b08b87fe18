"""What a pretrained model keeps while it learns from a few pictures, each part for itself."""
