"""TensorFlow Serving's REST form of predictions: JSON to tensors and back, by a signature.

The rules, as the server's own JSON converter has them:

1. `instances` is the row form: a list with one entry an example, each of which has *exactly* the
   inputs of its signature, or is the bare value where the signature has one input. Values of all
   rows have one shape; the batch axis is put before it. `inputs` is the column form: an object
   with (at least) all inputs, or the bare value of an only one, batch axis included. A request has
   one of the two. Default values of a signature are not used.
2. Integers have no decimal point and fit their type; numbers for floats fit float32; booleans are
   no numbers.
3. A string is `{"b64": "…"}` or plain text. An output of strings leaves as `{"b64": "…"}` if its
   name ends in `_bytes`, as plain text otherwise.
4. The row form is answered with `predictions`, a list with an entry an example, the column form
   with `outputs`. An only output stands without its name.
5. A failure is `{"error": "…"}`; `errors.HTTP_STATUS` has the statuses.

Signatures are anything with `inputs` and `outputs`, dicts from names to objects with a NumPy
`dtype` (object: strings), such as `export.c_api.Signature`. The demo's own form
(`oasis_tf.web.rest`) is narrower on purpose: rows of files alone, few of them, ranges checked.
"""

import base64
import binascii
import json
import math

import numpy as np

from export.serving.errors import ServingError

DEFAULT_SIGNATURE = "serving_default"
FORMS = {"instances": "predictions", "inputs": "outputs"}
# NumPy's names of types, and those in a model's metadata.
DTYPE_NAMES = {
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "float16": "DT_HALF",
    "int8": "DT_INT8",
    "int16": "DT_INT16",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "uint8": "DT_UINT8",
    "uint16": "DT_UINT16",
    "uint32": "DT_UINT32",
    "uint64": "DT_UINT64",
    "bool": "DT_BOOL",
    "object": "DT_STRING",
}
_MAX_DEPTH = 8  # axes of a tensor; JSON nested deeper is nobody's image


# === Requests ===


def read_request(body, signatures):
    """What a request asks for.

    Args:
        body: bytes, JSON.
        signatures: dict of signatures by name.

    Returns:
        (name of the signature, dict of arrays by input, form: "instances" or "inputs"). Strings
        are arrays of bytes objects.

    Raises:
        ServingError: what does not follow the rules (INVALID_ARGUMENT).
    """
    request = _json_object(body)
    name = request.get("signature_name", "")
    _require(isinstance(name, str), "'signature_name' must be a string.")
    name = name or DEFAULT_SIGNATURE
    _require(name in signatures, f'Serving signature name: "{name}" not found in signature def')
    inputs = {key: info.dtype for key, info in signatures[name].inputs.items()}
    forms = [form for form in FORMS if form in request]
    _require(len(forms) == 1, "A request has one of 'instances' and 'inputs'.")
    (form,) = forms
    read = _read_rows if form == "instances" else _read_columns
    return name, read(request[form], inputs), form


def write_request(name, inputs, form="inputs"):
    """The JSON-ready request of arrays; in the row form all of them have the same first axis."""
    if form == "inputs":
        values = {key: _json_value(value) for key, value in inputs.items()}
    else:
        columns = {key: _json_value(value) for key, value in inputs.items()}
        rows = zip(*columns.values(), strict=True)
        values = [dict(zip(columns, row, strict=True)) for row in rows]
    return {"signature_name": name, form: values}


def _json_object(body):
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServingError("INVALID_ARGUMENT", f"JSON Parse error: {_short(error)}") from error
    _require(isinstance(request, dict), "The JSON must be an object.")
    return request


def _read_rows(rows, inputs):
    _require(isinstance(rows, list) and bool(rows), "'instances' must be a list that is not empty.")
    named = isinstance(rows[0], dict) and not _is_b64(rows[0])
    _require(
        named or len(inputs) == 1,
        f"'instances' must be a list of objects with the inputs {', '.join(inputs)}.",
    )
    columns = {name: [] for name in inputs}
    for number, row in enumerate(rows):
        if not named:
            row = {next(iter(inputs)): row}
        known = isinstance(row, dict) and set(row) == set(inputs)
        _require(known, f"Element {number} of 'instances': keys must be {', '.join(inputs)}.")
        for name, dtype in inputs.items():
            array = _tensor(row[name], dtype, f"`{name}` of element {number}")
            first = columns[name][0].shape if columns[name] else array.shape
            same = array.shape == first
            _require(
                same,
                f"`{name}` of element {number} has the shape {list(array.shape)}, that of the "
                f"first {list(first)}: examples of a request have one size.",
            )
            columns[name].append(array)
    return {name: np.stack(arrays) for name, arrays in columns.items()}


def _read_columns(columns, inputs):
    if not isinstance(columns, dict) or _is_b64(columns):
        only = f"'inputs' must be an object with {', '.join(inputs)}."
        _require(len(inputs) == 1, only)
        columns = {next(iter(inputs)): columns}
    for name in inputs:
        _require(name in columns, f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(columns[name], dtype, f"`{name}`") for name, dtype in inputs.items()}


def _tensor(value, dtype, what):
    """An array of a nested list, whose shape is that of its first entries."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        _require(len(shape) <= _MAX_DEPTH, f"{what} is nested too deeply.")
        if not first:
            break
        first = first[0]
    flat = []
    _flatten(value, shape, 0, flat, what)
    if dtype.kind == "O":
        array = np.empty(len(flat), object)
        array[:] = [_string(entry, what) for entry in flat]
        return array.reshape(shape)
    _check_numbers(flat, dtype, what)
    return np.array(flat, dtype).reshape(shape)


def _flatten(value, shape, level, flat, what):
    if level == len(shape):
        _require(not isinstance(value, list), f"{what}: a list where a value was expected.")
        flat.append(value)
        return
    matches = isinstance(value, list) and len(value) == shape[level]
    _require(matches, f"{what} is ragged: at level {level}, not a list of {shape[level]}.")
    if level == len(shape) - 1:
        _require(not any(isinstance(v, list) for v in value), f"{what}: lists of unequal depth.")
        flat.extend(value)
        return
    for entry in value:
        _flatten(entry, shape, level + 1, flat, what)


def _check_numbers(flat, dtype, what):
    kinds = {type(entry) for entry in flat}  # bool is no int here
    wanted = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}.get(dtype.kind)
    if wanted is None or not kinds <= wanted:
        wrong = next(entry for entry in flat if wanted is None or type(entry) not in wanted)
        raise ServingError(
            "INVALID_ARGUMENT",
            f"{what}: JSON Value: {_short(wrong)} is not of expected type: {dtype}",
        )
    if dtype.kind in "iu" and flat:
        limits = np.iinfo(dtype)
        outside = [v for v in (min(flat), max(flat)) if not limits.min <= v <= limits.max]
        _require(not outside, f"{what}: {_short(outside)} does not fit {dtype}.")
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        outside = [v for v in flat if largest < abs(v) != math.inf]
        _require(not outside, f"{what}: {_short(outside)} does not fit {dtype}.")


def _is_b64(value):
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _string(value, what):
    if isinstance(value, str):
        return value.encode()
    _require(_is_b64(value), f'{what} must be {{"b64": "…"}} or text. Received: {_short(value)}.')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ServingError("INVALID_ARGUMENT", f"{what}: Unable to base64 decode") from error


# === Answers ===


def write_answer(outputs, form):
    """The JSON-ready answer for a dict of arrays by output.

    Raises:
        ServingError: outputs of unequal batch size in the row form, or text that is no UTF-8.
    """
    columns = {
        name: _json_value(array, as_b64=name.endswith("_bytes")) for name, array in outputs.items()
    }
    if form == "inputs":
        return {"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}
    batched = all(np.ndim(array) for array in outputs.values())
    _require(
        batched and len({len(array) for array in outputs.values()}) == 1,
        "Outputs have inconsistent batch sizes.",
    )
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def read_answer(answer, outputs):
    """The arrays of an answer.

    Args:
        answer: parsed JSON.
        outputs: dict from the signature's outputs to objects with a `dtype`.

    Returns:
        dict of arrays by output; strings as arrays of bytes objects.

    Raises:
        ServingError: not the form of an answer to this signature (INTERNAL: the server is another).
    """
    try:
        dtypes = {name: info.dtype for name, info in outputs.items()}
        if "outputs" in answer:
            read, values = _read_columns, answer["outputs"]
        else:
            read, values = _read_rows, answer["predictions"]
        return read(values, dtypes)
    except (ServingError, KeyError, TypeError) as error:
        raise ServingError(
            "INTERNAL", f"The answer is not TensorFlow Serving's form: {_short(error)}"
        ) from error


def _json_value(value, as_b64=True):
    """Nested lists; bytes as b64 objects or text.

    Of a float32, JSON gets all digits of its value, where TensorFlow Serving writes the fewest that
    tell it from others: both are read as the same float32.
    """
    array = np.asarray(value)
    if array.dtype == object or array.dtype.kind in "SU":
        return _json_strings(array.tolist(), as_b64)
    return array.tolist()


def _json_strings(value, as_b64):
    if isinstance(value, list):
        return [_json_strings(entry, as_b64) for entry in value]
    value = value.encode() if isinstance(value, str) else value
    if as_b64:
        return {"b64": base64.b64encode(value).decode("ascii")}
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ServingError("INTERNAL", "An output of strings is no UTF-8.") from error


def _require(holds, message):
    if not holds:
        raise ServingError("INVALID_ARGUMENT", message)


def _short(value, length=80):
    text = str(value)
    return text if len(text) <= length else f"{text[:length]}…"
