"""TensorFlow Serving's messages: arrays to tensors and back. Imports TensorFlow.

Raises ValueError on import where the extra is missing.
"""

try:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_log_pb2,
        prediction_service_pb2_grpc,
    )
except ImportError as error:
    from export.serving import extra

    raise extra.missing("gRPC") from error

__all__ = [
    "GRPC_OPTIONS",
    "arrays",
    "fill_tensors",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "grpc",
    "model_service_pb2_grpc",
    "predict_pb2",
    "predict_request",
    "prediction_log_pb2",
    "prediction_service_pb2_grpc",
    "tf",
]

# gRPC's own limit is 4 MiB, less than a float image of 640x640.
GRPC_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def predict_request(model, signature, inputs):
    """A `PredictRequest` for arrays, strings as lists or arrays of bytes objects."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def arrays(tensors):
    """The arrays of a map of `TensorProto`; strings as arrays of bytes objects.

    Raises:
        ValueError: one that contradicts itself.
    """
    values = {}
    for name, tensor in tensors.items():
        try:
            values[name] = tf.make_ndarray(tensor)
        except Exception as error:  # protobuf, NumPy and TensorFlow each raise their own
            raise ValueError(f"`{name}` is no whole tensor: {error}") from error
    return values


def fill_tensors(tensors, values):
    """Puts arrays into a map of `TensorProto`."""
    for name, value in values.items():
        tensors[name].CopyFrom(tf.make_tensor_proto(value))
