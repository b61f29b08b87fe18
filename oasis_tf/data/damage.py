"""Damaged records by name: shard, record, key, what is wrong, and what to do about it.

The name is looked for only once there is damage. It is made of TensorFlow operations alone: Python
functions inside a pipeline can keep a process from ending while the pipeline is still at work.
Texts are ASCII as far as possible; TensorFlow's errors write other characters as octal numbers.
"""

import codecs
import contextlib
import os
import re
from collections.abc import Iterator

import tensorflow as tf
from google.protobuf.message import DecodeError

from oasis_tf.data import reading, tfrecord
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.reading import Records, Run

_BEGINNING = "Damaged record: "
_IN_TENSORFLOW = re.compile(rf"\[({_BEGINNING}.*?)\]\n", re.DOTALL)
_UNREADABLE = "it cannot be read: its bytes are damaged, or the file is cut short or missing."
_UNREADABLE_RECORD = re.compile(rf"{_BEGINNING}(.*), record (\d+) \(.*\): {_UNREADABLE}.*")


def checked(example, sound: tf.Tensor, record, records: Records, space: LabelSpace):
    """Gives `example` back if its record is sound; otherwise fails with the record's name.

    Args:
        example: tensors decoded from the record.
        sound: bool [].
        record: (shard, index, contents), as `records` gave it.
        records: where it comes from.
        space: label space of the data set.

    Returns:
        The tensors of `example`. They fail with `tf.errors.InvalidArgumentError`, of whose message
        `plain_errors` makes one line.
    """

    def refused():
        shard, index, contents = record
        key, reason = fault(contents, space)
        known = tf.where(key == "", "", _text("; key ", key))
        place = (tf.gather(records.paths, shard), ", record ", index, " (counted from 0", known)
        text = _text(_BEGINNING, *place, "): ", reason, " ", tfrecord.REMEDY)
        with tf.control_dependencies([tf.debugging.Assert(False, [text])]):
            return tf.nest.map_structure(tf.identity, example)

    return tf.cond(sound, lambda: example, refused)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Makes TensorFlow's error about a damaged record a `ValueError` of one line.

    To be put around what takes batches. In TensorFlow's own message, names of graph nodes surround
    that line; and of a record that cannot be read, it has neither key nor exact reason. Other
    errors pass unchanged.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = _IN_TENSORFLOW.search(error.message)
        if not found:
            raise
        text = codecs.escape_decode(found[1].encode())[0].decode(errors="replace")
        raise ValueError(_in_detail(text)) from error


def _in_detail(text: str) -> str:
    found = _UNREADABLE_RECORD.fullmatch(text)
    if not found:
        return text
    path, index = found[1], int(found[2])
    key, reason = unreadable(path, index)
    return f"{_BEGINNING}{name(path, index, key)}: {reason} {tfrecord.REMEDY}"


def fault(contents: tf.Tensor, space: LabelSpace) -> tuple[tf.Tensor, tf.Tensor]:
    """What is wrong with a record that is not sound.

    Args:
        contents: string [], as `Records` gives it.
        space: label space of the data set.

    Returns:
        (key, reason), strings []. The key is empty where it cannot be read.
    """
    nothing = {name: tf.zeros([], feature.dtype) for name, feature in tfrecord.SCHEMA.items()}
    fields = reading.attempt(tfrecord.parse_example, contents, nothing)
    image_size = reading.attempt(
        lambda image: _size(reading.decode_image(image)), fields["image"], tf.constant("")
    )
    label_size, largest, is_grey = reading.attempt(
        lambda label: _label_facts(label, space), fields["label"], (tf.constant(""), 0, False)
    )
    sizes = (image_size, label_size, _text(fields["width"], "x", fields["height"]))
    problems = [
        (contents == "", _UNREADABLE),
        (fields["label"] == "", "it is no example of this format."),
        (image_size == "", "its image cannot be decoded."),
        (label_size == "", "its label map cannot be decoded."),
        (~is_grey, f"its label map is no grey PNG of {8 * space.dtype.itemsize} bits."),
        ((sizes[0] != sizes[1]) | (sizes[1] != sizes[2]), _contradiction(*sizes)),
        (largest >= space.num_classes, _foreign_label(largest, space)),
    ]
    reason = "it could not be decoded at first, though it can be now; check this machine's memory."
    for applies, text in reversed(problems):
        reason = tf.where(applies, text, reason)
    return fields["key"], reason


def _label_facts(label: tf.Tensor, space: LabelSpace) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    label_map = reading.decode_label(label, space)
    largest = tf.reduce_max(tf.cast(label_map, tf.int32))
    return _size(label_map), largest, reading.is_label_png(label, space)


def _contradiction(image_size, label_size, recorded) -> tf.Tensor:
    parts = ("its image is ", image_size, ", its label map ", label_size, ", and ", recorded)
    return _text(*parts, " is recorded (width x height); they must agree.")


def _foreign_label(largest: tf.Tensor, space: LabelSpace) -> tf.Tensor:
    allowed = f"; labels must lie in 0 to {space.num_classes - 1}."
    return _text("its label map holds ", largest, allowed)


def _size(pixels: tf.Tensor) -> tf.Tensor:
    return _text(tf.shape(pixels)[1], "x", tf.shape(pixels)[0])


def _text(*parts) -> tf.Tensor:
    parts = map(tf.convert_to_tensor, parts)
    return tf.strings.join([p if p.dtype == tf.string else tf.strings.as_string(p) for p in parts])


# === Outside of pipelines ===


def name(path: str, index: int, key: str | None) -> str:
    """Such as "DIR/train-00000-of-00001.tfrecord, record 3 (counted from 0; key a)"."""
    return f"{path}, record {index} (counted from 0{f'; key {key}' if key else ''})"


def undecodable(contents: bytes, space: LabelSpace) -> tuple[str | None, str]:
    """(key where it can be read, what is wrong) of a record that cannot be decoded."""
    key, reason = fault(tf.constant(contents), space)
    return key.numpy().decode(errors="replace") or None, reason.numpy().decode()


def unreadable(path: str, index: int) -> tuple[str | None, str]:
    """(key where it can be read, what is wrong) of a record of a shard that cannot be read."""
    if not os.path.isfile(path):
        return None, "the file is missing."
    starts = tfrecord.record_starts(path)
    if index + 1 >= len(starts):
        return None, (
            "the file ends before it does: it is cut short, or the length stored with the record "
            "is wrong."
        )
    alone = Records((path,), (Run(0, starts[index], index, 1),)).in_file_order()
    if all(contents for *_, contents in alone.as_numpy_iterator()):
        return None, "it could not be read at first, though it can be now; check the storage."
    contents = tfrecord.contents_unchecked(path, starts[index], starts[index + 1])
    return _key_of(contents), "its bytes do not agree with their checksums."


def _key_of(contents: bytes) -> str | None:
    """The key in a record that may be damaged, where it can be read."""
    try:
        values = tf.train.Example.FromString(contents).features.feature["key"].bytes_list.value
        return values[0].decode()
    except (DecodeError, IndexError, UnicodeDecodeError):
        return None
