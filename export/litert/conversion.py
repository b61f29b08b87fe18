"""From a network to the bytes of a TFLite file that needs built-in operations alone."""

import re

import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import ConverterError, mlir_quantize

# What stays float where convolutions are int8. One scale for a whole tensor is too coarse for
# modulations, whose channels differ in size, and for sums of them: docs/tflite.md has the numbers.
_FLOAT_BESIDE_INT8 = (
    "ADD",
    "BATCH_MATMUL",
    "CONCATENATION",
    "LEAKY_RELU",
    "MUL",
    "PAD",
    "RELU",
    "RESHAPE",
    "SPLIT",
    "TANH",
)


def convert(network, quantize, calibration=None):
    """A TFLite file of a network.

    Args:
        network: `Network`.
        quantize: `none` (float32), `float16` (weights stored in halves), `dynamic` (weights int8,
            activations float outside convolutions) or `int8` (inputs and outputs of convolutions
            too, by scales from the calibration).
        calibration: list of dicts of inputs, for `int8`.

    Returns:
        bytes.

    Raises:
        ValueError: it needs operations outside TFLite's built-in set; names them.
    """
    module = tf.Module()
    module.weights, module.signature = list(network.weights.values()), network.signature
    concrete = network.signature.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        contents = _int8(converter, calibration) if quantize == "int8" else converter.convert()
    except ConverterError as error:
        raise ValueError(_not_built_in(_foreign_in_message(str(error)))) from error
    foreign = foreign_operations(contents)
    if foreign:
        raise ValueError(_not_built_in(", ".join(foreign)))
    return contents


def _int8(converter, calibration):
    converter.representative_dataset = lambda: iter(calibration)
    # As `tf.lite.experimental.QuantizationDebugger` does, less the second model that it runs.
    converter._experimental_calibrate_only = True
    return mlir_quantize(converter.convert(), denylisted_ops=list(_FLOAT_BESIDE_INT8))


def foreign_operations(contents):
    """Names of the operations of a file that are not built in."""
    model = schema.Model.GetRootAs(contents)
    codes = (model.OperatorCodes(i) for i in range(model.OperatorCodesLength()))
    return sorted(code.CustomCode().decode() for code in codes if code.CustomCode())


def _foreign_in_message(message):
    found = re.findall(r"'(?:tf\.)?(\w+)' op is neither a custom op nor a flex op", message)
    found += re.findall(r"(?:Flex|Custom) ops: ([^\n]+)", message)
    return ", ".join(sorted(set(found))) or message.strip().splitlines()[0]


def _not_built_in(names):
    return (
        "TFLite files must need built-in operations alone, so that any runtime takes them. The "
        f"conversion asked for: {names}. This is a fault of the exporter, please report it."
    )
