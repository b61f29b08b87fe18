"""Damaged records by name: shard, index, and what to do about it.

Which bytes are damaged is not looked into: `dataset.json` has the checksum of every shard. Python
functions inside a pipeline can keep a process from ending while the pipeline is at work, so the
text is put together by TensorFlow operations. It is ASCII as far as possible; TensorFlow's errors
write other characters as octal numbers.
"""

import codecs
import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from oasis_tf.data import tfrecord
from oasis_tf.data.reading import Records

_IN_TENSORFLOW = re.compile(r"\[(Damaged record: .*?)\]\n", re.DOTALL)


def checked(example, sound: tf.Tensor, record, records: Records):
    """Gives `example` back if its record is sound; otherwise fails with the record's name.

    Args:
        example: tensors decoded from the record.
        sound: bool [].
        record: (shard, index, contents), as `records` gave it.
        records: where it comes from.

    Returns:
        The tensors of `example`. They fail with `tf.errors.InvalidArgumentError`, of whose message
        `plain_errors` makes one line.
    """
    shard, index, _ = record
    place = ("Damaged record: ", tf.gather(records.paths, shard), ", record ")
    problem = (
        " (counted from 0): it, or one before it in this file, cannot be read or decoded, or its "
        f"image and labels do not fit together. {tfrecord.REMEDY}"
    )
    text = tf.strings.join([*place, tf.strings.as_string(index), problem])
    with tf.control_dependencies([tf.debugging.Assert(sound, [text])]):
        return tf.nest.map_structure(tf.identity, example)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Makes TensorFlow's error about a damaged record a `ValueError` of one line.

    To be put around what takes batches. In TensorFlow's own message, names of graph nodes surround
    that line. Other errors pass unchanged.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = _IN_TENSORFLOW.search(error.message)
        if not found:
            raise
        text = codecs.escape_decode(found[1].encode())[0].decode(errors="replace")
        raise ValueError(text) from error
