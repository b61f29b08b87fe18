"""JSON files: no bit can change unnoticed; what has no digest is read as before."""

import json

import pytest

from oasis_tf.io import json_files
from tests.flips import flips

CONTENTS = {
    "format_version": 1,
    "names": ["sky", "Bäume", "\ud800"],
    "rate": 0.30000000000000004,
    "nothing": None,
    "nested": {"b": [1, -0.0, 1e-5], "a": {"1": True}},
}


def test_what_is_read_is_what_was_written_and_the_digest_comes_first(tmp_path):
    path = tmp_path / "a.json"
    json_files.write(path, CONTENTS | {"tuple": (1, 2), "of": {3: 4}}, indent=2)
    assert json_files.read(path) == CONTENTS | {"tuple": [1, 2], "of": {"3": 4}}
    first, second, *_ = path.read_text().splitlines()
    assert first == "{" and second.startswith('  "digest": "')


def test_no_flipped_bit_changes_what_is_read(tmp_path):
    """It is refused, or (the exponent's e, a last digit beyond the precision) means the same."""
    path = tmp_path / "a.json"
    json_files.write(path, CONTENTS, indent=1)
    data, refused = path.read_bytes(), 0
    for flipped in flips(data, 0, 8 * len(data)):
        path.write_bytes(flipped)
        try:
            assert json_files.read(path) == CONTENTS
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{path} is damaged: it")
    assert refused > 0.99 * 8 * len(data)


def test_an_edit_is_accepted_once_its_line_is_deleted(tmp_path):
    path = tmp_path / "a.json"
    json_files.write(path, CONTENTS, indent=1)
    text = path.read_text().replace('"sky"', '"cloud"')
    path.write_text(text)
    with pytest.raises(ValueError, match='Restore it .* by hand, delete its entry "digest"'):
        json_files.read(path)
    path.write_text("\n".join(line for line in text.splitlines() if '"digest"' not in line))
    assert json_files.read(path)["names"][0] == "cloud"


def test_layout_and_order_may_change(tmp_path):
    sealed = json_files.sealed(CONTENTS)
    assert json_files.loads(json.dumps(dict(reversed(sealed.items())))) == CONTENTS


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\0" * 50, b"\xff\xfe{}", "{} {}"])
def test_what_is_not_json_is_named(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="a.json is damaged: it is not JSON"):
        json_files.read(path)


@pytest.mark.parametrize("contents", [[1], "text", 3, {}, {"a": "0123456789abcdef"}])
def test_what_has_no_digest_is_taken_as_it_is(contents):
    assert json_files.loads(json.dumps(contents)) == contents
