"""TensorFlow Serving's messages: arrays to tensors and back. Imports TensorFlow.

Raises ValueError on import where the extra is missing.
"""

try:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        predict_pb2,
        prediction_log_pb2,
        prediction_service_pb2_grpc,
    )
except ImportError as error:
    raise ValueError(
        'gRPC needs tensorflow-serving-api: pip install "oasis-tf[serving]".'
    ) from error

__all__ = [
    "arrays",
    "get_model_metadata_pb2",
    "grpc",
    "predict_request",
    "prediction_log_pb2",
    "prediction_service_pb2_grpc",
    "tf",
]


def predict_request(model, signature, inputs):
    """A `PredictRequest` for a dict of arrays, strings as arrays of bytes objects."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def arrays(tensors):
    """The arrays of a map of `TensorProto`; strings as arrays of bytes objects."""
    return {name: tf.make_ndarray(tensor) for name, tensor in tensors.items()}
