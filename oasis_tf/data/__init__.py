"""Data sets: label spaces, published layouts, TFRecord shards, the training pipeline and `shapes`.

Nothing is imported here, so that processes which only read images and label maps stay free of
TensorFlow.
"""
