"""Lists read entry by entry equal lists read whole, wherever the pieces end."""

import json

import hypothesis
import hypothesis.strategies as st
import pytest

from oasis_tf.metrics.lvis import json_list
from oasis_tf.metrics.lvis.json_list import stream_list

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('a"]}é')
entries = st.recursive(
    scalars, lambda e: st.lists(e, max_size=3) | st.dictionaries(st.text("k,"), e, max_size=3)
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("json") / "list.json"


@hypothesis.given(st.lists(entries, max_size=6), st.integers(0, 40), st.sampled_from([None, 0, 2]))
def test_equals_reading_at_once(path, values, extra, indent):
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    path.write_text(f" \n{text}\n", encoding="utf-8")
    longest = max((len(json.dumps(v, indent=indent)) for v in values), default=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_list, "_CHUNK", 2 * longest + 10 + extra)
        assert list(stream_list(str(path))) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it starts with ''"),
        ('{"annotations": []}', "it starts with '{\"annotati'"),
        ("[1, 2", "'' after an entry"),
        ("[1, 2,", "Expecting value"),
        ("[1 2]", "'2]' after an entry"),
        ('[{"a": 1}, {"b"}]', "Expecting ':' delimiter"),
        (b"[\xff]", "can't decode byte"),
    ],
)
def test_what_is_no_list_is_refused(path, text, message):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"list\.json is not a JSON list \(") as caught:
        list(stream_list(str(path)))
    assert message in str(caught.value)


def test_damage_is_not_searched_to_the_end(path, monkeypatch):
    """An entry that a whole piece does not complete is an error; gigabytes need not be read."""
    monkeypatch.setattr(json_list, "_CHUNK", 50)
    path.write_text("[1, oops, " + "2, " * 1000)
    pieces = []

    class Counted:
        def __init__(self, file):
            self.file = file

        def read(self, size):
            pieces.append(size)
            return self.file.read(size)

    with open(path, encoding="utf-8") as file, pytest.raises(ValueError, match="Expecting value"):
        list(json_list._entries(Counted(file)))
    assert len(pieces) == 2


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(stream_list(str(tmp_path / "none.json")))
