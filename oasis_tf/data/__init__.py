"""Data sets: label spaces, published layouts, TFRecord shards, the training pipeline and `shapes`.

Nothing is imported here, so that processes that only read images and label maps do not load
TensorFlow.
"""
