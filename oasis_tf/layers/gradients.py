"""Hand-written gradients on every Keras backend."""


def of_upstream(function):
    """``function(upstream)`` in the form that ``keras.ops.custom_gradient`` expects.

    Some backends pass the upstream gradient by name, others as the last of several arguments.
    """

    def gradient(*args, upstream=None):
        return function(args[-1] if upstream is None else upstream)

    return gradient
