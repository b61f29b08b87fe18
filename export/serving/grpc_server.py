"""The gRPC half of the loopback server: TensorFlow Serving's services over a `Servable`."""

import concurrent.futures
import functools

from export.serving import protos
from export.serving.errors import ServingError
from export.serving.protos import get_model_metadata_pb2, get_model_status_pb2, grpc

_THREADS = 16
_MOST_CALLS = 64
_AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


def start(servable, port=0):
    """Starts to answer on 127.0.0.1.

    Args:
        servable: `Servable`.
        port: 0 takes a free one.

    Returns:
        (`grpc.Server`, its address "127.0.0.1:PORT").

    Raises:
        OSError: the port cannot be had.
    """
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(_THREADS),
        options=[*protos.GRPC_OPTIONS, ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=_MOST_CALLS,
    )
    protos.prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Predictions(servable), server
    )
    protos.model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(servable), server)
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise OSError(f"Cannot listen on port {port}. Choose another --grpc_port.") from error
    server.start()
    return server, f"127.0.0.1:{bound}"


def _answering(method):
    """Turns a `ServingError` into the call's status."""

    @functools.wraps(method)
    def answer(self, request, context):
        try:
            return method(self, request)
        except ServingError as error:
            context.abort(getattr(grpc.StatusCode, error.code), error.message)

    return answer


def _check_name(servable, spec):
    servable.check_name(spec.name, spec.version.value if spec.HasField("version") else None)


class _Predictions(protos.prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, servable):
        self._servable = servable

    @_answering
    def Predict(self, request):
        spec = request.model_spec
        _check_name(self._servable, spec)
        try:
            inputs = protos.arrays(request.inputs)
        except ValueError as error:
            raise ServingError("INVALID_ARGUMENT", str(error)) from error
        outputs = self._servable.predict(spec.signature_name, inputs, tuple(request.output_filter))
        response = protos.predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(spec)
        response.model_spec.version.value = self._servable.version
        protos.fill_tensors(response.outputs, outputs)
        return response

    @_answering
    def GetModelMetadata(self, request):
        _check_name(self._servable, request.model_spec)
        if list(request.metadata_field) != ["signature_def"]:
            message = "Metadata field must be signature_def."
            raise ServingError("INVALID_ARGUMENT", message)
        graph = protos.tf.compat.v1.MetaGraphDef.FromString(self._servable.meta_graph)
        found = get_model_metadata_pb2.SignatureDefMap()
        for name in self._servable.signatures:
            found.signature_def[name].CopyFrom(graph.signature_def[name])
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self._servable.name
        response.model_spec.version.value = self._servable.version
        response.metadata["signature_def"].Pack(found)
        return response


class _Models(protos.model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, servable):
        self._servable = servable

    @_answering
    def GetModelStatus(self, request):
        _check_name(self._servable, request.model_spec)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=self._servable.version, state=_AVAILABLE)
        return response
