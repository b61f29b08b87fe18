"""TensorFlow Serving's REST form of predictions, rows only.

A page cannot tell this server from TensorFlow Serving. The rules: every instance has exactly the
inputs of its signature; strings are sent as `{"b64": "…"}`, and so are outputs whose names end in
`_bytes`; a single output is sent without its name; failures are `{"error": "…"}`.
"""

import base64
import binascii
import json
import re

MAX_INSTANCES = 8
MAX_LIST = 1024
# Of JSON: counted before it is parsed, which blocks the whole process meanwhile.
_MOST_BRACKETS, _MOST_COMMAS, _MOST_DIGITS = 100, 20_000, 40
_INT64 = range(-(2**63), 2**63)
_PATH = re.compile(r"(?P<name>[\w.-]+)(?P<verb>:predict|/metadata)?")


def split_path(path):
    """`NAME`, `NAME:predict` or `NAME/metadata` as (name, verb); (None, None) for others."""
    match = _PATH.fullmatch(path)
    return match.group("name", "verb") if match else (None, None)


def parse(body, signatures):
    """Reads a request for predictions.

    Args:
        body: bytes, a JSON object with `instances` and `signature_name` (default
            "serving_default").
        signatures: dict from names to dicts from inputs to kinds: "bytes", "integer", "integers"
            (a list), "share" (a number in 0..1), "amounts" (a list of numbers in -1..1).

    Returns:
        the signature's name, and a list of dicts of inputs.

    Raises:
        ValueError: the request does not follow the form.
    """
    request = _json(body)
    if not isinstance(request, dict):
        raise ValueError("The request must be a JSON object with `instances`.")
    name = request.get("signature_name", "serving_default")
    if not isinstance(name, str) or name not in signatures:
        raise ValueError(
            f"`signature_name` must be one of {', '.join(signatures)}. Received: {_short(name)}."
        )
    instances = request.get("instances")
    if not isinstance(instances, list) or not 1 <= len(instances) <= MAX_INSTANCES:
        raise ValueError(f"`instances` must be a list of 1 to {MAX_INSTANCES} objects.")
    return name, [_inputs(instance, signatures[name]) for instance in instances]


def _json(body):
    """What JSON holds, within bounds that say how long it takes to parse."""
    if body.count(b"[") + body.count(b"{") > _MOST_BRACKETS or body.count(b",") > _MOST_COMMAS:
        raise ValueError(
            f"The request must be JSON of at most {_MOST_BRACKETS} lists and objects and "
            f"{_MOST_COMMAS:,} values."
        )
    try:
        return json.loads(body.decode(), parse_int=_number(int), parse_float=_number(float))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("The request must be JSON.") from error


def _number(kind):
    def read(digits):
        if len(digits) > _MOST_DIGITS:
            raise ValueError(
                f"A number may have {_MOST_DIGITS} digits at most. Received: {len(digits)}."
            )
        return kind(digits)

    return read


def _inputs(instance, kinds):
    if not isinstance(instance, dict) or set(instance) != set(kinds):
        received = sorted(instance) if isinstance(instance, dict) else type(instance).__name__
        raise ValueError(
            f"An instance must have exactly the inputs {', '.join(kinds)}. "
            f"Received: {_short(received)}."
        )
    return {name: _READERS[kind](name, instance[name]) for name, kind in kinds.items()}


def _bytes(name, value):
    if not isinstance(value, dict) or set(value) != {"b64"} or not isinstance(value["b64"], str):
        raise ValueError(f'`{name}` must be {{"b64": "…"}}. Received: {_short(value)}.')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"`{name}` is not base64.") from error


def _integer(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INT64:
        raise ValueError(f"`{name}` must be an integer of 64 bits. Received: {_short(value)}.")
    return value


def _integers(name, value):
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIST:
        raise ValueError(
            f"`{name}` must be a list of 1 to {MAX_LIST} integers. Received: {_short(value)}."
        )
    return [_integer(name, item) for item in value]


def _share(name, value):
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a number in 0..1. Received: {_short(value)}.")
    return float(value)


def _amounts(name, value):
    fits = isinstance(value, list) and 1 <= len(value) <= MAX_LIST
    if not fits or not all(_is_number(item) and -1 <= item <= 1 for item in value):
        raise ValueError(
            f"`{name}` must be a list of 1 to {MAX_LIST} numbers in -1..1. Received: "
            f"{_short(value)}."
        )
    return [float(item) for item in value]


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


_READERS = {
    "bytes": _bytes,
    "integer": _integer,
    "integers": _integers,
    "share": _share,
    "amounts": _amounts,
}


def _short(value, length=60):
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}…"


def parse_prediction(answer, outputs):
    """The outputs, a dict of bytes, of the only row of an answer.

    Args:
        answer: what the JSON of an answer holds.
        outputs: names of the signature's outputs, all of them bytes.

    Raises:
        ValueError: an answer of another form.
    """
    rows = answer.get("predictions")
    if not isinstance(rows, list) or len(rows) != 1:
        raise ValueError("the answer must have one prediction.")
    row = {outputs[0]: rows[0]} if len(outputs) == 1 else rows[0]
    if not isinstance(row, dict) or not set(outputs) <= set(row):
        raise ValueError(f"a prediction must have {', '.join(outputs)}.")
    return {name: _bytes(name, row[name]) for name in outputs}


def as_b64(contents):
    """Bytes in the form that strings have."""
    return {"b64": base64.b64encode(contents).decode("ascii")}


def predictions(rows):
    """The answer to a list of dicts of outputs, all of them bytes."""
    return {"predictions": [_row({k: as_b64(v) for k, v in row.items()}) for row in rows]}


def _row(outputs):
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def metadata(model_name, version, signatures):
    """The answer to `GET …/metadata`, without the details of tensors."""
    definitions = {name: {"inputs": dict(kinds)} for name, kinds in signatures.items()}
    return {
        "model_spec": {"name": model_name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def status(version):
    """The answer to `GET /v1/models/NAME`."""
    state = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [{"version": str(version), "state": "AVAILABLE", "status": state}]
    }
