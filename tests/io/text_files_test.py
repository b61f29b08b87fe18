"""Text of users: UTF-8 with or without a mark; everything else is refused by name."""

import pytest

from oasis_tf.io import text_files


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
