"""A server with TensorFlow Serving's REST form, for tests: a model's signatures, or worse."""

import base64
import contextlib
import http.server
import json
import threading
import time

NAME = "shapes"
TYPES = {"bytes": "DT_STRING", "integer": "DT_INT64", "integers": "DT_INT64"}
TYPES |= {"share": "DT_FLOAT", "amounts": "DT_FLOAT"}


class FakeServing(http.server.ThreadingHTTPServer):
    """Answers on 127.0.0.1 in a thread, inside a `with` block.

    Args:
        signatures: `Signatures`, or None for a server without predictions.
        cors: whether browsers may hand its answers to pages of other origins.

    Attributes:
        url: of the model.
        replies: dict from verb ("", "/metadata", ":predict") to what is answered instead: a
            function of the handler, or (status, bytes).
        served: names of the signatures, of those that `signatures` has.
        asked: list of (method, verb, JSON).
    """

    daemon_threads = True

    def __init__(self, signatures=None, cors=False):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.signatures, self.cors = signatures, cors
        self.served = list(signatures.kinds) if signatures else []
        self.replies, self.asked = {}, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1/models/{NAME}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()

    def status(self):
        ended = {"version": "2", "state": "END", "status": {"error_code": "OK"}}
        usable = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK"}}
        return {"model_version_status": [usable, ended]}

    def metadata(self):
        definitions = {
            name: {
                "inputs": {
                    key: {"dtype": TYPES[kind], "name": f"{name}_{key}:0"}
                    for key, kind in self.signatures.kinds[name].items()
                },
                "outputs": {},
                "method_name": "tensorflow/serving/predict",
            }
            for name in self.served
        }
        return {
            "model_spec": {"name": NAME, "signature_name": "", "version": "3"},
            "metadata": {"signature_def": {"signature_def": definitions}},
        }

    def predict(self, request):
        name = request["signature_name"]
        kinds = self.signatures.kinds[name]
        return {"predictions": [self._row(name, kinds, row) for row in request["instances"]]}

    def _row(self, name, kinds, row):
        assert set(row) == set(kinds)
        inputs = {
            key: base64.b64decode(value["b64"]) if kinds[key] == "bytes" else value
            for key, value in row.items()
        }
        outputs = {
            key: {"b64": base64.b64encode(value).decode()}
            for key, value in self.signatures(name, inputs).items()
        }
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing."""

    def do_GET(self):
        self._answer("GET", None)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer("POST", json.loads(body))

    def _answer(self, method, request):
        verb = self.path.removeprefix(f"/v1/models/{NAME}")
        self.server.asked.append((method, verb, request))
        reply = self.server.replies.get(verb)
        if callable(reply):
            return reply(self)
        if reply is not None:
            return self.send(*reply)
        work = {"": self.server.status, "/metadata": self.server.metadata}
        try:
            answer = self.server.predict(request) if verb == ":predict" else work[verb]()
            self.send(200, json.dumps(answer).encode())
        except ValueError as error:
            self.send(400, json.dumps({"error": str(error)}).encode())

    def send(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.server.cors:
            self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked may be gone
            self.wfile.write(body)


def slow(seconds, drops=1):
    """A reply whose pieces come so many seconds apart, for `FakeServing.replies`."""

    def reply(handler):
        time.sleep(0 if drops > 1 else seconds)
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(drops):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(seconds)

    return reply
