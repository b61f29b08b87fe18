"""Parts of a step that XLA compiles, where it cannot compile the whole.

Sums over replicas are not compiled. So a step on several replicas is compiled in the parts that
stand between them: the discriminator with its gradients, the generator between its batch norms.
Everywhere else a part is only the function that it is.
"""

import contextlib
import threading

import keras

from oasis_tf.layers.replicas import assign_same

_thread = threading.local()  # every replica has its own


@contextlib.contextmanager
def compiled_parts(compiled=True):
    """Within it, and on its thread, ``part`` compiles."""
    before, _thread.compiled = getattr(_thread, "compiled", False), compiled
    try:
        yield
    finally:
        _thread.compiled = before


def part(function, *layers):
    """``function()``; within ``compiled_parts`` as one computation that XLA compiles.

    Args:
        function: takes nothing and returns nested tensors. It may close over tensors of known
            shapes. Nothing in it goes over replicas.
        layers: built layers, all whose variables it uses. Gradients flow to their weights. State
            that it assigns is assigned after the computation.

    Parts within a part are compiled with it.
    """
    if not getattr(_thread, "compiled", False):
        return function()
    import tensorflow as tf

    variables = [variable for layer in layers for variable in layer.variables]
    assigned = []

    # A new one for every call: each is traced once, as the operations themselves would be.
    @tf.function(jit_compile=True, autograph=False)
    def compiled(values):
        mapping = list(zip(variables, values, strict=True))
        with compiled_parts(False), keras.StatelessScope(mapping) as scope:
            outputs = function()
        state = [scope.get_current_value(variable) for variable, _ in mapping]
        changed = [
            k for k, (new, old) in enumerate(zip(state, values, strict=True)) if new is not old
        ]
        assigned[:] = [variables[k] for k in changed]
        return outputs, [state[k] for k in changed]

    outputs, state = compiled([tf.convert_to_tensor(v.value) for v in variables])
    for variable, value in zip(assigned, state, strict=True):
        assign_same(variable, value)
    return outputs
