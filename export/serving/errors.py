"""What a server answers in the place of a result, by the names that gRPC gives to such answers."""

# Names by their numbers, as in TensorFlow's and gRPC's own tables.
CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
# The statuses that TensorFlow Serving's REST form gives them.
HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
# Asking again may help: nothing was wrong with the request.
TRANSIENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


class ServingError(Exception):
    """A request that was not answered with a result.

    Attributes:
        code: a name in `CODES`.
        message: what the server (or the way to it) had to say.
    """

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def code_of_status(status):
    """The name for an HTTP status; of several with the same status, the first."""
    by_status = {}
    for code, of_code in HTTP_STATUS.items():
        by_status.setdefault(of_code, code)
    by_status |= {500: "INTERNAL", 502: "UNAVAILABLE"}
    return by_status.get(status, "INVALID_ARGUMENT" if 400 <= status < 500 else "UNKNOWN")
