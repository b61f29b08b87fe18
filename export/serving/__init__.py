"""TensorFlow Serving: warm-up records, settings, client, load test, a loopback server for tests.

Nothing is imported here: the REST client and the settings need no TensorFlow.
"""
