"""metrics.jsonl: lines that survive what happens to a run, and the best step among them."""

import json
import math
import re
from pathlib import Path

import pytest

from oasis_tf.training.metrics_file import MetricsFile, best_checkpoint, check_best


@pytest.fixture
def file(tmp_path):
    return MetricsFile(str(tmp_path))


def text(file):
    with open(file.path) as opened:
        return opened.read()


def lines(file):
    return [json.loads(line) for line in text(file).splitlines()]


def add(file, metric, *values):
    """Evaluations of steps 10, 20, ...; each with the line of losses before it."""
    for k, value in enumerate(values, 1):
        file.append({"step": 10 * k, "loss_g": 1.0})
        file.append_evaluation(10 * k, {metric: value, "segmentation/iou/sky": 0.5})


def test_lines_are_json_and_nan_is_null(file):
    file.append({"step": 3, "loss_g": 0.1})
    file.append_evaluation(3, {"fid_seeded64": 1 / 3, "segmentation/miou": math.nan})
    first, second = text(file).splitlines()
    assert re.fullmatch('{"step": 3, "loss_g": 0.1, "digest": "[0-9a-f]{16}"}', first)
    second = json.loads(second, parse_constant=pytest.fail)
    assert second.pop("digest") and second == {
        "step": 3,
        "evaluation": {"fid_seeded64": 1 / 3, "segmentation/miou": None},
    }
    assert file.evaluations() == {3: {"fid_seeded64": 1 / 3, "segmentation/miou": None}}


def test_no_file(file):
    file.truncate(5)
    assert file.evaluations() == {} and file.best_step("fid_seeded64", [1]) is None
    assert file.best_step(None, [1]) is None


def test_truncation_drops_what_comes_after_a_step_and_a_line_cut_off(file):
    add(file, "fid_seeded64", 5.0, 4.0, 3.0)
    whole = text(file)
    with open(file.path, "a") as opened:
        opened.write('{"step": 40, "evalua')
    assert list(file.evaluations()) == [10, 20, 30]
    file.truncate(30)
    assert text(file) == whole
    file.truncate(20)
    assert [line["step"] for line in lines(file)] == [10, 10, 20, 20]
    file.truncate(19)
    assert file.evaluations() == {10: {"fid_seeded64": 5.0, "segmentation/iou/sky": 0.5}}


NULS = b"\0" * 300
BROKEN = [
    NULS,  # of a file system after a power cut
    b'{"step": 20, "loss',
    b'{"step": 20, "loss_g": 9.0, "digest": "0123456789abcdef"}',
    b"[20]",
    b'{"loss_g": 1.0}',
    b'{"step": "20"}',
    b'{"step": 20, "evaluation": [1]}',
    b'{"step": 20, "evaluation": {"fid_seeded64": "1"}}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_a_damaged_line_is_left_out_and_named(file, caplog, broken):
    add(file, "fid_seeded64", 5.0, 4.0)
    lines = text(file).encode().splitlines(keepends=True)
    damaged = b"".join([*lines[:2], broken + b"\n", *lines[2:]])
    Path(file.path).write_bytes(damaged)
    assert list(file.evaluations()) == [10, 20]
    assert f"{file.path}, line 3 is damaged and left out: " in caplog.text
    file.truncate(20)
    assert Path(file.path).read_bytes() == b"".join(lines)
    assert Path(f"{file.path}.damaged").read_bytes() == damaged
    assert "continues without the damaged lines; see" in caplog.text
    caplog.clear()
    assert list(file.evaluations()) == [10, 20] and caplog.text == ""


def test_lines_of_an_earlier_release_have_no_digest(file):
    old = '{"step": 1, "loss_g": 1.0}\n{"step": 1, "evaluation": {"fid_seeded64": 5}}\n'
    Path(file.path).write_text(old)
    file.truncate(1)
    assert text(file) == old and file.best_step(None, [1]) == 1


NAN = math.nan


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("fid_seeded64", [5.0, 3.0, 4.0], 20),
        ("kid_inception2015", [-0.1, 0.2, 0.0], 10),
        ("segmentation/miou", [0.5, 0.3, 0.7], 30),
        ("diversity/ms_ssim_3scales", [0.5, 0.3, 0.7], 20),
        ("diversity/lpips_alex", [0.5, 0.3, 0.7], 30),
        ("fid_seeded64", [5.0, 3.0, 3.0], 20),
        ("segmentation/miou", [0.7, 0.3, 0.7], 10),
        ("fid_seeded64", [NAN, 3.0, NAN], 20),
        ("segmentation/miou", [NAN, 0.0, NAN], 20),
        ("fid_seeded64", [NAN, NAN, NAN], None),
        ("fid_seeded64", [], None),
    ],
)
def test_the_best_step(file, metric, values, best):
    """By name, and without one by the first value; ties go to the first, null is never best."""
    add(file, metric, *values)
    assert file.best_step(metric, [10, 20, 30]) == best
    assert file.best_step(None, [10, 20, 30]) == best
    assert file.best_step("fid_inception2015", [10, 20, 30]) is None


def test_only_steps_with_a_checkpoint_are_chosen_from(file):
    add(file, "fid_seeded64", 5.0, 3.0, 4.0, 1.0)
    assert file.best_step("fid_seeded64", [10, 30, 35]) == 30
    assert file.best_step("fid_seeded64", [35]) is None


def test_values_of_different_names_are_not_compared(file):
    """A run continued with another network or other metrics: the newest evaluation decides."""
    file.append_evaluation(10, {"fid_seeded64": 1.0})
    file.append_evaluation(20, {"fid_inception2015": 90.0, "fid_seeded64": 2.0})
    file.append_evaluation(30, {"fid_inception2015": 95.0})
    assert file.best_step(None, [10, 20, 30]) == 20
    assert file.best_step(None, [10]) is None
    assert file.best_step("fid_seeded64", [10, 20, 30]) == 10


def test_the_best_checkpoint_of_a_model_directory(file, tmp_path):
    message = r"no best checkpoint: none of \[4\] was evaluated by segmentation/miou .*--eval_every"
    with pytest.raises(ValueError, match=message):
        best_checkpoint(str(tmp_path), [4], "segmentation/miou")
    file.append_evaluation(4, {"fid_seeded64": 2.0, "segmentation/miou": 0.1})
    file.append_evaluation(8, {"fid_seeded64": 3.0, "segmentation/miou": 0.2})
    assert best_checkpoint(str(tmp_path), [4, 8], "segmentation/miou") == 8
    assert best_checkpoint(str(tmp_path), [4, 8]) == 4
    with pytest.raises(ValueError, match=r"none of \[9\] was evaluated while training .*a step"):
        best_checkpoint(str(tmp_path), [9])


def test_a_best_metric_must_be_among_the_values():
    check_best(None, {"fid_seeded64": 1.0}, 4)
    check_best("fid_seeded64", {"fid_seeded64": NAN}, 4)
    message = (
        "Received: best_metric=fid_inception2015; values: fid_seeded64, kid_seeded64. Repeat .* "
        "--best_metric: it continues from step 4"
    )
    with pytest.raises(ValueError, match=message):
        check_best("fid_inception2015", {"fid_seeded64": 1.0, "kid_seeded64": 0.0}, 4)
