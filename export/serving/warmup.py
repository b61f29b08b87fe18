"""Command: warm-up records of an exported model, written or replayed.

    python -m export.serving.warmup --saved_model=DIR/NAME/VERSION [--replay]

TensorFlow Serving answers the records in `assets.extra/tf_serving_warmup_requests` before it calls
a version available, so that the first visitor does not wait for lazy initialisation. One failing
record, and the server refuses the version: `--replay` runs them all with TensorFlow.
`python -m export.savedmodel` writes them unless told `--nowarmup`.

There is one record a signature: one example at the size trained on.
"""

import importlib.util
import os
import time
from pathlib import Path

import numpy as np
from absl import flags, logging

from oasis_tf.cli import runner
from oasis_tf.io.paths import check_no_pattern
from oasis_tf.settings import path_flags

PLACE = Path("assets.extra") / "tf_serving_warmup_requests"
MOST_RECORDS = 1000  # TensorFlow Serving refuses files with more
_RANDOM = ("noise", "latent")


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    path_flags.define_path(
        "saved_model", None, "Folder of a version, NAME/VERSION.", required=True, **where
    )
    flags.DEFINE_bool(
        "replay", False, "Run the records that are there; default: write them.", **where
    )


def check_extra():
    """Raises ValueError, before any work, where records cannot be written."""
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise ValueError(
            "Writing warm-up records needs tensorflow-serving-api: pip install "
            '"oasis-tf[serving]". Or export with --nowarmup.'
        )


def load(folder):
    """Signatures of a SavedModel by name, as concrete functions."""
    import tensorflow as tf

    check_no_pattern(folder)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # that gradients were not saved, for dozens of functions
    try:
        return tf.saved_model.load(folder).signatures
    finally:
        logging.set_verbosity(verbosity)


def write(folder, signatures, name="oasis"):
    """Writes the records of all signatures of a SavedModel, which has labels.json if they need it.

    Args:
        folder: with `saved_model.pb`.
        signatures: dict of concrete functions by name.
        name: of the model, as servers will know it; only logs tell it.

    Raises:
        ValueError: the extra is missing, or labels.json, or a signature has an unknown input.
    """
    check_extra()
    import tensorflow as tf

    from export.serving import labels, protos
    from oasis_tf.io import files

    specs = {signature: input_specs(function) for signature, function in signatures.items()}
    known = {*_of_seeds(0), *_RANDOM}
    served = None
    if any(name not in known for inputs in specs.values() for name in inputs):
        served = labels.read(Path(folder) / labels.PLACE)
    with (
        files.written_aside(Path(folder) / PLACE) as aside,
        tf.io.TFRecordWriter(aside) as writer,
    ):
        for signature in sorted(specs):
            inputs = example(specs[signature], served)
            log = protos.prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(protos.predict_request(name, signature, inputs))
            writer.write(log.SerializeToString())


def input_specs(function):
    """Dict of `tf.TensorSpec`s by input of a concrete function."""
    positional, named = function.structured_input_signature
    return {spec.name: spec for spec in positional} | named


def example(specs, served, seed=0):
    """Inputs of a signature for one example.

    Args:
        specs: dict of its `tf.TensorSpec`s by input.
        served: `labels.ServedLabels`; None where no input is a map or a picture.
        seed: int, of the noise.

    Returns:
        dict of arrays by input, batch size 1; strings as arrays of bytes objects.

    Raises:
        ValueError: an input that is not known here.
    """
    values = _of_seeds(seed) | ({} if served is None else _of_labels(served))
    return {name: _batch(name, spec, values, seed) for name, spec in specs.items()}


def _of_seeds(seed):
    values = {"share": 0.5, "truncation": 0.5, "amounts": 0.5, "seed": seed}
    return values | {"region_seed": seed + 1, "other_seed": seed + 1}


def _of_labels(served):
    from oasis_tf.web.pictures import encode_png

    size = (served.height, served.width)
    rows, columns = np.indices(size) // 8
    ids = ((rows + columns) % served.space.num_classes).astype(np.int32)
    image = served.space.colorize(ids)
    return {
        "label_map": ids,
        "region": ids == ids[0, 0],
        "image": image / 127.5 - 1.0,
        "label_map_bytes": encode_png(ids),
        "region_bytes": encode_png((ids == ids[0, 0]).astype(np.uint8)),
        "noise_index_bytes": encode_png(np.zeros(size, np.uint8)),
        "image_bytes": encode_png(image),
    }


def _batch(name, spec, values, seed):
    dtype = spec.dtype.as_numpy_dtype  # object: strings
    if name in _RANDOM:
        shape = [side or 1 for side in spec.shape]
        return np.random.default_rng(seed).normal(size=shape).astype(dtype)
    if name not in values:
        raise ValueError(f"No warm-up value is known for the input `{name}`. Add one here.")
    value = np.asarray(values[name], dtype)
    if not value.ndim:  # of seeds and shares there may be lists
        return np.full([side or 1 for side in spec.shape], value)
    return value.reshape((1,) * (spec.shape.rank - value.ndim) + value.shape)


def read(folder):
    """The requests of a SavedModel's records, a list of `PredictRequest`.

    Raises:
        ValueError: no records, more than `MOST_RECORDS`, or not as the server reads them.
    """
    check_extra()
    import tensorflow as tf

    from export.serving.protos import prediction_log_pb2

    path = Path(folder) / PLACE
    if not path.is_file():
        raise ValueError(f"There are no warm-up records: {path}.")
    logs = []
    for record in tf.data.TFRecordDataset(os.fspath(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") != "predict_log":
            raise ValueError(f"{path}: record {len(logs)} is no prediction.")
        logs.append(log.predict_log.request)
    if not 0 < len(logs) <= MOST_RECORDS:
        raise ValueError(f"{path} must have 1 to {MOST_RECORDS} records. Received: {len(logs)}.")
    return logs


def replay(folder, only=None):
    """Runs the records as the server does when it loads the model.

    Args:
        folder: with `saved_model.pb`.
        only: names of the signatures whose records are run; default: all.

    Returns:
        list of (name of the signature, seconds).

    Raises:
        ValueError: records that cannot be read, have other inputs than their signature, or fail:
            TensorFlow Serving would refuse the version.
    """
    requests, signatures, timings = read(folder), load(folder), []
    import tensorflow as tf

    from export.serving import protos

    for request in requests:
        name, start = request.model_spec.signature_name, time.perf_counter()
        if only is not None and name not in only:
            continue
        inputs, wanted = protos.arrays(request.inputs), input_specs(signatures[name])
        if set(inputs) != set(wanted):
            raise ValueError(
                f"Signature {name} takes the inputs {', '.join(sorted(wanted))}. The record has "
                f"{', '.join(inputs) or 'none'}."
            )
        try:
            signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        except (tf.errors.OpError, TypeError, ValueError) as error:
            message = f"{folder}: the record of {name} fails, a server would refuse it: {error}"
            raise ValueError(message) from error
        timings.append((name, time.perf_counter() - start))
    return timings


def main(argv):
    """Writes or replays."""
    del argv
    args = flags.FLAGS
    check_extra()
    if not args.replay:
        signatures = load(args.saved_model)
        write(args.saved_model, signatures)
        print(f"Wrote records of {', '.join(sorted(signatures))}")
        return
    for signature, seconds in replay(args.saved_model):
        print(f"{signature}: {seconds:.3f} s")


if __name__ == "__main__":
    runner.run(main, define_flags)
