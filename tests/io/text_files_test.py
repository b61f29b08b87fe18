"""Text of users: UTF-8 with or without a mark; everything else is refused by name."""

import pytest

from oasis_tf.cli import flagfiles
from oasis_tf.data import datasets
from oasis_tf.data.datasets import published_label_space
from oasis_tf.io import text_files
from oasis_tf.metrics.lvis import files as lvis
from oasis_tf.metrics.segmentation import segmenter_labels


@pytest.fixture
def written(tmp_path):
    def write(contents):
        path = tmp_path / "names.txt"
        path.write_bytes(contents)
        return path

    return write


def test_a_byte_order_mark_is_dropped(written):
    assert text_files.read_text(written(b"\xef\xbb\xbfsky\nm\xc3\xbcll\n")) == "sky\nmüll\n"


def test_ends_of_lines_are_those_of_unix(written):
    assert text_files.read_text(written(b"a\r\nb\rc\nd")) == "a\nb\nc\nd"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_unicode_with_a_mark_is_named(written, encoding):
    path = written("sky\ntree\n".encode(encoding))
    with pytest.raises(ValueError, match=rf"names\.txt must be text in UTF-8.*{encoding.upper()}"):
        text_files.read_text(path)


def test_utf_16_without_a_mark_is_refused(written):
    with pytest.raises(ValueError, match=r"names\.txt.*NUL byte in line 1 \(UTF-16"):
        text_files.read_text(written("sky\ntree\n".encode("utf-16-le")))


def test_bytes_of_older_encodings_are_named_with_their_line(written):
    with pytest.raises(ValueError, match=r"names\.txt.*byte 0xfc in line 2.*Save the file as"):
        text_files.read_text(written("sky\nmüll\n".encode("cp1252")))


def expand(path):
    return flagfiles.expand_flagfiles([f"--flagfile={path}"])


def read_usage(path):
    return segmenter_labels.read_usage(path, published_label_space("shapes")).values


def entries(path):
    return list(lvis._entries(path))


USAGE = '{"input": {"range": "uint8"}, "output": "label_map", "classes": {"0": "sky"}}'
READERS = [
    (expand, "--batch_size=2\n# müde\n--steps=3\n", ["--batch_size=2", "--steps=3"]),
    (datasets.read_class_names, "sky\nmüll\n", ["sky", "müll"]),
    (read_usage, USAGE, None),
    (lvis._parts, '{"categories": [], "images": [],\n"annotations": []}', None),
    (entries, ' [\n{"a": 1}]', [{"a": 1}]),
]


@pytest.mark.parametrize(("read", "text", "want"), READERS)
def test_readers_of_files_of_users(read, text, want, written):
    if read is entries:
        pytest.importorskip("ijson")
    want = want or read(str(written(text.encode())))
    path = written(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read(str(path)) == want
    written(text.encode("utf-16"))
    with pytest.raises(ValueError, match=r"names\.txt must be text in UTF-8. Received: UTF-16"):
        read(str(path))
