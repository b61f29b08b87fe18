"""Command: warm-up records of an exported model, written or replayed.

    python -m export.serving.warmup --saved_model=DIR/NAME/VERSION [--replay]

TensorFlow Serving answers the records in `assets.extra/tf_serving_warmup_requests` before it calls
a version available, so that the first visitor does not wait for lazy initialisation. One failing
record, and the server refuses the version: `--replay` runs them all through the C++ loader.
`python -m export.savedmodel` writes them unless told `--nowarmup`.

There is one record a signature: one example at the size trained on.
"""

import contextlib
import os
import time
from pathlib import Path

import numpy as np
from absl import flags

from oasis_tf.cli import runner

PLACE = Path("assets.extra") / "tf_serving_warmup_requests"
MOST_RECORDS = 1000  # TensorFlow Serving refuses files with more


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    flags.DEFINE_string(
        "saved_model", None, "Folder of a version, NAME/VERSION.", required=True, **where
    )
    flags.DEFINE_bool(
        "replay", False, "Run the records that are there; default: write them.", **where
    )


def check_extra():
    """Raises ValueError, before any work, where records cannot be written."""
    from export.serving import extra

    extra.check("Writing warm-up records", "Or export with --nowarmup.")


def write(folder, name="oasis"):
    """Writes the records of all signatures of a SavedModel that has its labels.json.

    Args:
        folder: with `saved_model.pb`.
        name: of the model, as servers will know it; only logs tell it.

    Returns:
        names of the signatures.

    Raises:
        ValueError: the extra is missing, or labels.json, or a signature has an unknown input.
    """
    check_extra()
    import tensorflow as tf

    from export.c_api import SavedModelSession
    from export.serving import labels, protos

    served = labels.read(Path(folder) / labels.PLACE)
    with SavedModelSession(folder) as session:
        signatures = session.signatures
    from oasis_tf.io import files

    with (
        files.written_aside(Path(folder) / PLACE) as aside,
        tf.io.TFRecordWriter(aside) as writer,
    ):
        for signature in signatures:
            inputs = example(signatures[signature], served)
            log = protos.prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(protos.predict_request(name, signature, inputs))
            writer.write(log.SerializeToString())
    return list(signatures)


def example(signature, served, seed=0):
    """Inputs of a signature for one example.

    Args:
        signature: `export.c_api.Signature`.
        served: `labels.ServedLabels`.
        seed: int, of the noise.

    Returns:
        dict of arrays by input, batch size 1; strings in lists.

    Raises:
        ValueError: an input that is not known here.
    """
    from oasis_tf.web.pictures import encode_png

    size = (served.height, served.width)
    rows, columns = np.indices(size) // 8
    ids = ((rows + columns) % served.space.num_classes).astype(np.int32)
    image = served.space.colorize(ids)
    values = {
        "label_map": ids,
        "region": ids == ids[0, 0],
        "image": image / 127.5 - 1.0,
        "label_map_bytes": encode_png(ids),
        "region_bytes": encode_png((ids == ids[0, 0]).astype(np.uint8)),
        "noise_index_bytes": encode_png(np.zeros(size, np.uint8)),
        "image_bytes": encode_png(image),
        "share": 0.5,
        "seed": seed,
        "region_seed": seed + 1,
        "other_seed": seed + 1,
    }
    return {key: _batch(key, info, values, seed) for key, info in signature.inputs.items()}


def _batch(name, info, values, seed):
    if name == "noise":
        shape = [1 if side == -1 else side for side in info.shape]
        return np.random.default_rng(seed).normal(size=shape).astype(info.dtype)
    if name not in values:
        raise ValueError(f"No warm-up value is known for the input `{name}`. Add one here.")
    if info.dtype == object:
        return [values[name]]
    value = np.asarray(values[name], info.dtype)
    missing = len(info.shape) - value.ndim  # the batch; and a list of seeds, for some signatures
    return value.reshape((1,) * missing + value.shape)


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


def replay(folder, session=None, only=None):
    """Runs the records as the server does when it loads the model.

    Args:
        folder: with `saved_model.pb`.
        session: `SavedModelSession` of it; default: it is loaded.
        only: names of the signatures whose records are run; default: all.

    Returns:
        list of (name of the signature, seconds).

    Raises:
        ValueError: records that cannot be read, or have other inputs than their signature.
        TensorFlowError: one that fails; TensorFlow Serving would refuse the version.
    """
    from export.c_api import SavedModelSession
    from export.serving import protos

    requests, timings = read(folder), []
    with contextlib.nullcontext(session) if session else SavedModelSession(folder) as loaded:
        for request in requests:
            signature, start = request.model_spec.signature_name, time.perf_counter()
            if only is None or signature in only:
                loaded.run(signature, protos.arrays(request.inputs))
                timings.append((signature, time.perf_counter() - start))
    return timings


def main(argv):
    """Writes or replays."""
    del argv
    args = flags.FLAGS
    check_extra()
    from export.c_api import TensorFlowError

    try:
        if not args.replay:
            print(f"Wrote records of {', '.join(write(args.saved_model))}")
            return
        for signature, seconds in replay(args.saved_model):
            print(f"{signature}: {seconds:.3f} s")
    except TensorFlowError as error:
        raise ValueError(f"{args.saved_model}: a server would refuse this: {error}") from error


if __name__ == "__main__":
    runner.run(main, define_flags)
