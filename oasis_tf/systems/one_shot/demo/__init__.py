"""The demo of `one_shot`: other images like the picture that a model has learnt from."""
