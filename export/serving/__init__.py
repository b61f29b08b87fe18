"""TensorFlow Serving: warm-up records, settings, client, load test.

Nothing is imported here: the REST client and the settings need no TensorFlow.
"""
