"""Differentiable augmentation of images at several scales, with soft masks or label maps.

Draws are apart from their application: `draw` is TensorFlow and stateless, `apply` is a function of
draws and images on `keras.ops`. Every transform acts alike on all scales of a sample, on its soft
mask and on its label map.
"""
