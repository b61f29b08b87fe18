"""What a pretrained model keeps while it learns from a few pictures, each part for itself.

RSSA (Xiao et al. 2022) is left out: which windows of features it compares, and how the pictures
are inverted to the styles that it pulls towards, is not stated well enough to be written from the
papers, so that its rows would be of another method.
"""
