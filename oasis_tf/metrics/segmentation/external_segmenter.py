"""A segmenter that was trained elsewhere, as published evaluations use (ICLR 2021, section 4).

Two files: the network (`--segmenter`), a Keras file or a SavedModel folder with the signature
"serving_default", and a JSON file that says how it is used (`--segmenter_labels`).
"""

import hashlib
import os
import re

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from oasis_tf.io.files import file_sha256
from oasis_tf.io.label_files import resize_label_map
from oasis_tf.io.paths import check_no_pattern
from oasis_tf.metrics.segmentation.confusion import NO_CLASS
from oasis_tf.metrics.segmentation.segmenter_labels import EXAMPLE, read_usage

AUTO = "auto"
_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_NOT_NAMED = NO_CLASS - 1


def check(settings, label_space):
    """Refuses settings of a segmenter that cannot work, without loading it.

    Args:
        settings: `EvaluationConfig`.
        label_space: `LabelSpace` of the data set.

    Raises:
        ValueError: a file is missing, is of another kind, or contradicts the data set.
    """
    path, labels = settings.segmenter, settings.segmenter_labels
    if path == AUTO:
        if labels is not None:
            raise ValueError(
                "--segmenter_labels says how a segmenter given by --segmenter is used. Received: "
                f"--segmenter_labels={labels} with --segmenter=auto."
            )
        return
    _check_kind(path)
    if labels is None:
        raise ValueError(
            f"--segmenter={path} needs --segmenter_labels=FILE.json, which says how it is used. "
            f"Its form: {EXAMPLE}"
        )
    read_usage(labels, label_space)


def _check_kind(path):
    is_model = os.path.isfile(os.path.join(path, "saved_model.pb")) or (
        os.path.isfile(path) and path.endswith(_KERAS_SUFFIXES)
    )
    if not is_model:
        found = "something else" if os.path.exists(path) else "nothing"
        raise ValueError(
            "--segmenter must be auto, a Keras file (.keras, .h5) or a SavedModel folder (with "
            f"saved_model.pb). Received: --segmenter={path}, where there is {found}."
        )
    if segmenter_name(path) in ("compact", ""):
        raise ValueError(
            f"--segmenter={path}: values are named after the file, and compact is the name of the "
            "segmenter trained by this command. Rename the file."
        )


def segmenter_name(path):
    """What value names carry: the file's stem, with `_` for other than letters, digits, `.-`."""
    name = os.path.basename(os.path.abspath(path))
    stem, suffix = os.path.splitext(name)
    return re.sub(r"[^0-9A-Za-z.-]+", "_", stem if suffix in _KERAS_SUFFIXES else name)


class ExternalSegmenter:
    """A network with the classes of the data set that its outputs stand for.

    Args:
        path: Keras file or SavedModel folder.
        usage: `Usage`.
        label_space: `LabelSpace` of the data set.

    Attributes:
        name: what the names of its scores carry.
        classes: model ids that its outputs stand for; the others are left out of the truth.
        protocol: what decides its answers, ready for JSON.
        notes: sentences for readers of its scores.

    Raises:
        ValueError: the file cannot be loaded, or has not one input and one output.
    """

    def __init__(self, path, usage, label_space):
        self._path = path
        self._usage = usage
        self._run = _load_saved_model(path) if os.path.isdir(path) else _load_keras(path)
        self._table = np.full(max(usage.model_ids) + 2, _NOT_NAMED, np.int32)
        self._table[list(usage.model_ids)] = list(usage.model_ids.values())
        self.name = segmenter_name(path)
        self.classes = usage.classes
        self.protocol = {
            "name": self.name,
            "file": os.path.basename(os.path.abspath(path)),
            "digest": _digest(path),
            "usage": usage.values,
        }
        left_out = label_space.num_classes - int(label_space.has_unknown) - len(self.classes)
        self.notes = (
            f"{left_out} classes that no output of the segmenter stands for are left out of the "
            "truth; its other predictions count as errors.",
        ) * bool(left_out)

    def try_out(self, batch_size, height, width):
        """Segments black images, so that what does not fit is refused before images are generated.

        Raises:
            ValueError: as `segment`.
        """
        self.segment(np.zeros((batch_size, height, width, 3), np.uint8))

    def segment(self, image):
        """Most likely class of every pixel.

        Args:
            image: uint8 [B,H,W,3].

        Returns:
            int32 [B,H,W] model ids, or `NO_CLASS` where the output stands for none.

        Raises:
            ValueError: the network refuses the images, its output is not what the usage says, or
                it gives ids that are not named there.
        """
        inputs = prepared(image, self._usage.values["input"])
        try:
            output = _array(self._run(inputs))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise ValueError(
                f"The segmenter {self._path} cannot be run on images {tuple(inputs.shape)} of type "
                f'{inputs.dtype.name} ({error}). Correct "range" or "resize" in '
                "--segmenter_labels, or --batch_size."
            ) from error
        self._check(output, len(image))
        ids = self._argmax if self._usage.values["output"] == "logits" else resize_label_map
        size = image.shape[1:3]
        return self._to_model_ids(np.stack([ids(one, *size) for one in output]))

    def _check(self, output, batch):
        logits, count = self._usage.values["output"] == "logits", len(self._usage.model_ids)
        kind = "f" if logits else "iu"
        shape = (batch, None, None, count) if logits else (batch, None, None)
        fits = output.dtype.kind in kind and tf.TensorShape(shape).is_compatible_with(output.shape)
        if not fits:
            want = f"floats [B,h,w,{count}]" if logits else "integers [B,h,w]"
            raise ValueError(
                f'The segmenter {self._path} must give {want}, by "output" and "classes" in '
                f"--segmenter_labels. Received: {output.dtype} {list(output.shape)}."
            )
        if logits and not np.isfinite(output).all():
            raise ValueError(f"The segmenter {self._path} gives logits that are NaN or infinite.")

    @staticmethod
    def _argmax(logits, height, width):
        if logits.shape[:2] != (height, width):
            logits = tf.image.resize(logits, (height, width)).numpy()
        return logits.argmax(axis=-1)

    def _to_model_ids(self, ids):
        # Whatever is too small or too large meets the last entry, which is not named.
        model_ids = self._table[np.where(ids < 0, -1, np.minimum(ids, len(self._table) - 1))]
        unnamed = np.unique(ids[model_ids == _NOT_NAMED])
        if unnamed.size:
            raise ValueError(
                f'The segmenter {self._path} gives ids that "classes" in --segmenter_labels does '
                f"not name: {unnamed[:10].tolist()}. Name them, with null if they stand for none."
            )
        return model_ids


def prepared(image, usage):
    """Images as a segmenter takes them.

    Args:
        image: uint8 [B,H,W,3].
        usage: `input` of a `--segmenter_labels` file.

    Returns:
        tensor [B,h,w,3], uint8 or float32.
    """
    image = tf.constant(image)
    if usage.get("resize"):
        image = tf.image.resize(image, usage["resize"])
    if usage.get("channels") == "bgr":
        image = image[..., ::-1]
    if usage["range"] == "uint8":
        return tf.cast(tf.round(image), tf.uint8) if image.dtype != tf.uint8 else image
    low, high = usage["range"]
    image = tf.cast(image, tf.float32) * ((high - low) / 255) + low
    return (image - usage.get("mean", [0.0] * 3)) / usage.get("std", [1.0] * 3)


# === Loading ===


def _load_keras(path):
    """Function from a batch of images to the output."""
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path, str(error)) from error
    counts = [len(keras.tree.flatten(tensors or [])) for tensors in (model.inputs, model.outputs)]
    if counts != [1, 1]:
        raise _unreadable(path, f"it has {counts[0]} inputs and {counts[1]} outputs")
    return lambda image: model.predict_on_batch(_cast(image, model.inputs[0].dtype))


def _load_saved_model(path):
    """Function from a batch of images to the output."""
    # Said aloud, for the path may come from a config.json of somebody else.
    logging.warning("Running the SavedModel %s as segmenter; it can read and write files.", path)
    try:
        check_no_pattern(path)
        loaded = tf.saved_model.load(path)
    except (ValueError, OSError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise _unreadable(path, str(error)) from error
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        names = ", ".join(loaded.signatures) or "none"
        raise _unreadable(path, f'it has no signature "serving_default", but {names}')
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise _unreadable(path, f"it has inputs {sorted(inputs)} and outputs {sorted(outputs)}")
    ((name, spec),) = inputs.items()

    def run(image):
        (output,) = signature(**{name: _cast(image, spec.dtype.name)}).values()
        return output

    return run


def _cast(image, dtype):
    """Integers are cast to what the network takes; scaled floats never to integers."""
    if image.dtype == tf.uint8 or tf.as_dtype(dtype).is_floating:
        return tf.cast(image, dtype)
    raise ValueError(f'the network takes {dtype}: use "range": "uint8"')


def _array(output):
    """The output as an array; half precision, which NumPy does not know, as float32."""
    output = tf.convert_to_tensor(output)
    return (tf.cast(output, tf.float32) if output.dtype.is_floating else output).numpy()


def _unreadable(path, reason):
    return ValueError(
        f"--segmenter={path} cannot be used: {reason}. It must be a Keras file without custom "
        'code, or a SavedModel with the signature "serving_default", of one input and one output.'
    )


def _digest(path):
    """SHA-256 of the file, or of the names and contents of all files of the folder."""
    if os.path.isfile(path):
        return file_sha256(path)
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            digest.update(f"{os.path.relpath(file, path)}\n{file_sha256(file)}\n".encode())
    return digest.hexdigest()
