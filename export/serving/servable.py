"""A SavedModel behind the rules that TensorFlow Serving has for predictions; no network here."""

import re
import threading
from pathlib import Path

from export.c_api import SavedModelSession, TensorFlowError
from export.serving.errors import CODES, ServingError
from export.serving.rest_rules import DEFAULT_SIGNATURE, DTYPE_NAMES


class Servable:
    """One version of a model.

    Args:
        session: `SavedModelSession`, or what has its `signatures`, `meta_graph`, `run`, `close`.
        name, version: of the model, str and int.
        running: most requests that are computed at a time.
        waiting: most requests that wait for their turn; more are refused (UNAVAILABLE).
        timeout_s: longest wait (DEADLINE_EXCEEDED).

    Attributes:
        session, name, version: as given.
        signatures: dict of `export.c_api.Signature` by name.
        meta_graph: bytes, the serialised `MetaGraphDef`.
    """

    def __init__(self, session, name, version, *, running=2, waiting=64, timeout_s=60):
        self.name, self.version, self.session = name, version, session
        self.signatures, self.meta_graph = session.signatures, session.meta_graph
        self._turn = threading.BoundedSemaphore(running)
        self._place = threading.BoundedSemaphore(running + waiting)
        self._timeout_s = timeout_s

    @classmethod
    def load(cls, path, **limits):
        """A version in its folder, NAME/VERSION as TensorFlow Serving watches it.

        Raises:
            ValueError: the folder is no version of a model.
            TensorFlowError: it cannot be loaded.
        """
        path = Path(path).resolve()
        if not re.fullmatch(r"\d+", path.name) or not (path / "saved_model.pb").is_file():
            raise ValueError(
                "A served model lies in NAME/VERSION, VERSION a number, with its saved_model.pb. "
                f"Received: {path}. `python -m export.savedmodel` writes such folders."
            )
        return cls(SavedModelSession(path), path.parent.name, int(path.name), **limits)

    def check_name(self, name, version=None):
        """Raises ServingError (NOT_FOUND) unless this is the model, and the version if given."""
        if name != self.name or version not in (None, self.version):
            which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise ServingError("NOT_FOUND", f"Servable not found for request: {which}")

    def predict(self, signature, inputs, output_filter=()):
        """Outputs of a signature, a dict of arrays.

        Args:
            signature: its name; "" for `serving_default`.
            inputs: dict of arrays by input.
            output_filter: names of the wanted outputs; none: all.

        Raises:
            ServingError: the request was refused, or failed.
        """
        signature = signature or DEFAULT_SIGNATURE
        if signature not in self.signatures:
            message = f'Serving signature key "{signature}" not found.'
            raise ServingError("FAILED_PRECONDITION", message)
        wanted = self._wanted(signature, output_filter)
        # No signature here has default values, which alone would let inputs be left out.
        expected = set(self.signatures[signature].inputs)
        if set(inputs) != expected:
            raise ServingError(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(inputs)}!={len(expected)}. "
                f"Sent extra: {{{','.join(sorted(set(inputs) - expected))}}}. "
                f"Missing but required: {{{','.join(sorted(expected - set(inputs)))}}}.",
            )
        outputs = self._in_turn(signature, inputs)
        return {name: outputs[name] for name in wanted}

    def _wanted(self, signature, output_filter):
        known = self.signatures[signature].outputs
        for name in output_filter:
            if name not in known:
                message = f"output tensor alias not found in signature: {name}"
                raise ServingError("INVALID_ARGUMENT", message)
        if len(set(output_filter)) != len(output_filter):
            raise ServingError("INVALID_ARGUMENT", "duplicate output tensor alias")
        return output_filter or list(known)

    def _in_turn(self, signature, inputs):
        if not self._place.acquire(blocking=False):
            raise ServingError("UNAVAILABLE", "Too many requests wait already. Ask again shortly.")
        try:
            if not self._turn.acquire(timeout=self._timeout_s):
                raise ServingError("DEADLINE_EXCEEDED", "The request waited too long.")
            try:
                return self.session.run(signature, inputs)
            finally:
                self._turn.release()
        except TensorFlowError as error:
            code = CODES[error.code] if 0 < error.code < len(CODES) else "UNKNOWN"
            raise ServingError(code, str(error)) from error
        except ValueError as error:
            raise ServingError("INVALID_ARGUMENT", str(error)) from error
        finally:
            self._place.release()

    def status(self):
        """The JSON-ready answer to `GET /v1/models/NAME`."""
        health = {"error_code": "OK", "error_message": ""}
        state = {"version": str(self.version), "state": "AVAILABLE", "status": health}
        return {"model_version_status": [state]}

    def metadata(self):
        """The JSON-ready answer to `GET /v1/models/NAME/metadata`."""
        signatures = {
            name: {
                "inputs": _described(signature.inputs),
                "outputs": _described(signature.outputs),
                "method_name": signature.method,
            }
            for name, signature in self.signatures.items()
        }
        spec = {"name": self.name, "signature_name": "", "version": str(self.version)}
        return {
            "model_spec": spec,
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    def close(self):
        """Frees the model; nobody may predict at that time or afterwards."""
        self.session.close()


def _described(tensors):
    return {
        name: {
            "dtype": DTYPE_NAMES[str(info.dtype)],
            "tensor_shape": {
                "dim": [{"size": str(size), "name": ""} for size in info.shape or ()],
                "unknown_rank": info.shape is None,
            },
            "name": info.name,
        }
        for name, info in tensors.items()
    }
