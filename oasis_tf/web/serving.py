"""Predictions from TensorFlow Serving, in its REST form, as if the model were loaded here."""

import http.client
import json
import re
import time
from urllib.parse import urlsplit

from oasis_tf.web import rest
from oasis_tf.web.pictures import PHOTOGRAPH_FORMATS, check_pixels, decode_image

QUESTION_SECONDS = 10
PREDICTION_SECONDS = 60
MAX_ANSWER = 2**25  # bytes
_CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_PIECE = 2**16
_MOST_LETTERS = 500  # of what the other server says of a failure
_FORMATS = {"image_bytes": PHOTOGRAPH_FORMATS}  # other pictures are PNGs
_BUSY = (429, 503)
_URL = re.compile(
    r"https?://(?:\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?(/[\w.-]+)*/v1/models/[\w.-]+"
    r"(/versions/\d+|/labels/[\w.-]+)?/?",
    re.ASCII,
)
_EXAMPLE = "http://HOST:8501/v1/models/NAME"


class Unavailable(OSError):
    """The other server does not answer, or not as it should.

    Attributes:
        status: HTTP status for the client: 502, 503 (busy) or 504 (too late).
    """

    def __init__(self, message, status=502):
        super().__init__(message)
        self.status = status


class TensorFlowServing:
    """A model in TensorFlow Serving whose inputs and outputs are pictures as bytes.

    Args:
        url: of the model, `http://HOST:8501/v1/models/NAME`, perhaps with `/versions/N` or
            `/labels/LABEL`; `check_url` says what is allowed.
        known: signatures that can be used if they are served: dict from names to dicts from inputs
            to kinds, as `rest.parse` reads them. The first one must be served.
        outputs: names of the outputs of each signature, all of them bytes.
        max_pixels: most pixels of a picture that is sent.

    Attributes:
        kinds: those of `known` that are served.
        max_pixels: as given.
        version, origin: the served version, and words for people about it.

    Raises:
        Unavailable: nothing answers there, or no version can be used yet.
        ValueError: not a model's address, or a model without the first signature.
    """

    def __init__(self, url, known, outputs, max_pixels):
        self._url = check_url(url)
        self._outputs, self.max_pixels = outputs, max_pixels
        self.version = self._available_version()
        self.origin = f"TensorFlow Serving, version {self.version}"
        self.kinds = self._served_kinds(known)

    def __call__(self, name, inputs):
        """Outputs, a dict of bytes, of a signature for a dict of inputs.

        Raises:
            ValueError: inputs that the model refuses.
            Unavailable: no answer, or none that can be used.
        """
        kinds = self.kinds[name]
        for key, kind in kinds.items():
            if kind == "bytes":
                formats = _FORMATS.get(key, ("PNG",))
                check_pixels(inputs[key], f"`{key}`", formats, self.max_pixels)
        instance = {k: rest.as_b64(v) if kinds[k] == "bytes" else v for k, v in inputs.items()}
        body = json.dumps({"signature_name": name, "instances": [instance]}).encode()
        answer = self._ask("POST", ":predict", PREDICTION_SECONDS, body)
        try:
            return rest.parse_prediction(answer, self._outputs[name])
        except ValueError as error:
            raise Unavailable(f"{self.name}: {error}") from error

    @property
    def name(self):
        """The model in messages."""
        return f"The model at {self._url}"

    def check_picture(self, contents, height, width):
        """Raises ValueError unless the bytes of a picture that was generated have a size."""
        found = decode_image(contents, f"{self.name}: a picture", self.max_pixels).shape[:2]
        if found != (height, width):
            raise ValueError(
                f"{self.name} must generate images of {height} x {width} pixels. Received: "
                f"{found[0]} x {found[1]}."
            )

    # === What is served ===

    def _available_version(self):
        versions = self._ask("GET", "", QUESTION_SECONDS).get("model_version_status", [])
        usable = [int(v["version"]) for v in versions if v.get("state") == "AVAILABLE"]
        if not usable:
            states = ", ".join(f"{v['version']} {v.get('state')}" for v in versions) or "none"
            raise Unavailable(f"{self.name} has no version that is AVAILABLE. Received: {states}.")
        return max(usable)

    def _served_kinds(self, known):
        answer = self._ask("GET", "/metadata", QUESTION_SECONDS)
        try:
            served = answer["metadata"]["signature_def"]["signature_def"]
            inputs = {name: set(one.get("inputs", ())) for name, one in served.items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"{self.name} answers /metadata in no known form.") from error
        kinds = {name: of for name, of in known.items() if inputs.get(name) == set(of)}
        first = next(iter(known))
        if first not in kinds:
            raise ValueError(
                f"{self.name} must have the signature {first} ({', '.join(known[first])}). "
                f"Received: {', '.join(inputs)}. Export it with python -m export.savedmodel."
            )
        return kinds

    # === HTTP ===

    def _ask(self, method, verb, seconds, body=None):
        """The JSON object of an answer."""
        try:
            status, contents = self._exchange(method, verb, seconds, body)
        except TimeoutError as error:
            raise Unavailable(f"{self.name} took longer than {seconds} s.", 504) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or error or type(error).__name__
            raise Unavailable(
                f"{self.name} does not answer: {reason}. Is TensorFlow Serving running there?"
            ) from error
        try:
            answer = json.loads(contents)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise Unavailable(f"{self.name} answers {status} and no JSON object.")
        if status == 200:
            return answer
        message = f"{self.name} answers {status}: {str(answer.get('error'))[:_MOST_LETTERS]}"
        if status == 400 and body:
            raise ValueError(message)
        raise Unavailable(message, 503 if status in _BUSY else 502)

    def _exchange(self, method, verb, seconds, body):
        """Status and body; follows no redirect and uses no proxy."""
        parts, deadline = urlsplit(self._url), time.monotonic() + seconds
        connection = _CONNECTIONS[parts.scheme](parts.hostname, parts.port, timeout=seconds)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, parts.path + verb, body, headers)
            response = connection.getresponse()
            contents = bytearray()
            while piece := response.read1(_PIECE):
                contents += piece
                if len(contents) > MAX_ANSWER:
                    raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError
            return response.status, bytes(contents)
        finally:
            connection.close()


def check_url(url):
    """The address of a model, without a slash at its end.

    Raises:
        ValueError: another form than `http://HOST:PORT/v1/models/NAME`.
    """
    if not _URL.fullmatch(url):
        raise ValueError(
            f"A model in TensorFlow Serving must be given as {_EXAMPLE}, perhaps with "
            f"/versions/N or /labels/LABEL. Received: {url}"
        )
    return url.rstrip("/")
