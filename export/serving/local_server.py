"""Command: serve an exported model on this machine alone, for tests and for trying things out.

    python -m export.serving.local_server --saved_model=DIR/NAME/VERSION [--port --grpc_port]

This is *not* TensorFlow Serving. It restates TensorFlow Serving's rules for predictions, REST and
gRPC, over the same C++ loader and session, so that clients, signatures and warm-up records can be
tried without the server. It listens on 127.0.0.1 only, has one version of one model, no batching,
no monitoring, and has not been hardened. For others to use: TensorFlow Serving (docs/serving.md).
"""

import threading

from absl import flags

from oasis_tf.cli import runner


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string(
        "saved_model", None, "Folder of a version, NAME/VERSION.", required=True, **where
    )
    flags.DEFINE_integer("port", 8501, "Port of REST; 0: a free one.", lower_bound=0, **where)
    flags.DEFINE_integer(
        "grpc_port",
        None,
        "Port of gRPC, which needs the extra `serving`; 0: a free one. Default: no gRPC.",
        lower_bound=0,
        **where,
    )
    flags.DEFINE_integer(
        "parallel", 2, "Most requests that are computed at a time.", lower_bound=1, **where
    )


class LocalServer:
    """Both halves, in threads of this process, until the block ends.

    Args:
        servable: `Servable`.
        port: of REST; 0 takes a free one.
        grpc_port: of gRPC, or None for REST alone.

    Attributes:
        url: of the model by REST.
        address: "127.0.0.1:PORT" of gRPC, or None.

    Raises:
        OSError: a port cannot be had.
        ValueError: gRPC without the extra `serving`.
    """

    def __init__(self, servable, port=0, grpc_port=None):
        from export.serving.rest_server import RestServer

        self._grpc, self.address = None, None
        self._rest = RestServer(servable, port)
        try:
            if grpc_port is not None:
                from export.serving import grpc_server  # TensorFlow: only where wanted

                self._grpc, self.address = grpc_server.start(servable, grpc_port)
        except BaseException:
            self._rest.server_close()
            raise
        self.url = self._rest.url
        self._thread = threading.Thread(target=self._rest.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._rest.shutdown()
        self._rest.server_close()
        if self._grpc:
            self._grpc.stop(grace=1).wait()


def main(argv):
    """Loads the model, answers until interrupted."""
    del argv
    args = flags.FLAGS
    from export.c_api import TensorFlowError
    from export.serving.servable import Servable

    try:
        servable = Servable.load(args.saved_model, running=args.parallel)
    except TensorFlowError as error:
        raise ValueError(f"{args.saved_model} cannot be loaded: {error}") from error
    with LocalServer(servable, args.port, args.grpc_port) as server:
        print(f"REST: {server.url}", flush=True)
        if server.address:
            print(f"gRPC: {server.address}, model {servable.name}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    runner.run(main, define_flags)
