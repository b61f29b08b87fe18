"""Reports: merged only where they may be, printed in full, compared so that no one is misled."""

import json
import math
import os
import re

import numpy as np
import pytest

from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.metrics.reports.comparison import compare
from oasis_tf.metrics.reports.table import table
from tests.flips import flips

SEEDED_NOTE = "seeded64 is a small seeded network."
FID = {"fid_seeded64": 12.3456}
ALIGNMENT = {
    "alignment_compact/miou": 0.4881,
    "alignment_compact/miou_group_1": 0.5,
    "alignment_compact/iou/sky": math.nan,
    "alignment_compact/iou/sea": 0.25,
}


def contents_of(metrics, protocols, **changed):
    contents = {
        "format_version": evaluation_file.FORMAT_VERSION,
        "model_dir": "/models/first",
        "step": 5000,
        "data_dir": "/data/ade",
        "dataset": "ade20k",
        "split": "val",
        "num_images": 100,
        "height": 256,
        "width": 256,
        "seed": 0,
        "time": "2026-01-02T03:04:05+00:00",
        "seconds": 12.5,
        "versions": {"oasis_tf": "1.2"},
        "protocols": protocols,
        "metrics": metrics,
    }
    return contents | changed


def fid(values=FID, **changed):
    protocol = {"network": "seeded64", "num_real": 100, "notes": [SEEDED_NOTE]}
    return contents_of(dict(values), {"fid": protocol}, **changed)


def alignment(**changed):
    group = {"classes": ["sky", "sea"], "training_share": 0.864}
    protocol = {"segmenter": {"name": "compact"}, "num_generated": 100, "groups": [group]}
    return contents_of(dict(ALIGNMENT), {"alignment": protocol}, **changed)


# === Files ===


def test_what_is_read_is_what_was_written(tmp_path):
    path = tmp_path / "new" / "report.json"
    metrics = {"alignment_compact/iou/sky": math.nan, "fid_seeded64": np.float32(1.5)}
    protocol = {"pairs": np.arange(2), "share": np.float64("nan"), 3: (np.int64(7),)}
    written = evaluation_file.write(contents_of(metrics, {"fid": protocol}), path)
    found = evaluation_file.read(path)
    assert math.isnan(found["metrics"]["alignment_compact/iou/sky"])
    assert found["metrics"]["fid_seeded64"] == 1.5
    assert found["protocols"]["fid"] == {"pairs": [0, 1], "share": None, "3": [7]}
    np.testing.assert_equal(written, found)
    held = json.loads(path.read_text())
    assert held["metrics"]["alignment_compact/iou/sky"] is None
    assert held["dataset"] == "ade20k"


def test_metrics_of_two_commands_end_in_one_file(tmp_path):
    path = tmp_path / "report.json"
    evaluation_file.write(fid(), path)
    evaluation_file.write(alignment(time="2026-01-03T00:00:00+00:00", seconds=99.0), path)
    found = evaluation_file.read(path)
    np.testing.assert_equal(found["metrics"], FID | ALIGNMENT)
    assert set(found["protocols"]) == {"fid", "alignment"}
    assert found["protocols"]["fid"]["notes"] == [SEEDED_NOTE]
    assert found["measured"]["fid"]["seconds"] == 12.5
    assert found["measured"]["alignment"]["seconds"] == 99.0
    assert found["measured"]["fid"]["time"].startswith("2026-01-02")


def test_a_metric_measured_anew_loses_all_its_old_values(tmp_path):
    path = tmp_path / "report.json"
    evaluation_file.write(alignment(), path)
    evaluation_file.write(fid(), path)
    other = {"fid_inception2015": 33.0}
    again = contents_of(dict(other), {"fid": {"network": "inception2015"}})
    evaluation_file.write(again, path)
    found = evaluation_file.read(path)
    np.testing.assert_equal(found["metrics"], ALIGNMENT | other)
    assert found["protocols"]["fid"] == {"network": "inception2015"}


@pytest.mark.parametrize(
    "changed",
    [
        {"step": 5001},
        {"data_dir": "/data/other"},
        {"dataset": "folder"},
        {"split": "test"},
        {"num_images": 99},
        {"height": 128},
        {"width": 128},
        {"seed": 1},
        {"model_dir": "/models/second"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_other_measurements_are_replaced(tmp_path, changed):
    path = tmp_path / "report.json"
    evaluation_file.write(fid(), path)
    evaluation_file.write(alignment(**changed), path)
    assert set(evaluation_file.read(path)["protocols"]) == {"alignment"}
    assert "fid_seeded64" not in evaluation_file.read(path)["metrics"]


def test_a_model_directory_may_move(tmp_path):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    evaluation_file.write(fid(model_dir=first), evaluation_file.default_path(first, 5000))
    os.rename(first, second)
    evaluation_file.write(alignment(model_dir=second), evaluation_file.default_path(second, 5000))
    assert set(evaluation_file.read(second)["protocols"]) == {"fid", "alignment"}


@pytest.mark.parametrize("held", ["not JSON", "[1]", '{"metrics": {}}', b"\xff\xfe"])
def test_other_files_are_replaced_with_a_warning(tmp_path, held, caplog):
    path = tmp_path / "report.json"
    path.write_bytes(held if isinstance(held, bytes) else held.encode())
    evaluation_file.write(fid(), path)
    assert evaluation_file.read(path)["metrics"] == FID
    assert f"{path} is" in caplog.text and "The file is replaced" in caplog.text


def test_flipped_bits_are_refused_and_the_file_named(tmp_path):
    path = tmp_path / "report.json"
    evaluation_file.write(fid(), path)
    for flipped in flips(path.read_bytes(), seed=0, count=200):
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=f"^{path} is damaged: .*Measure the model again"):
            evaluation_file.read(path)


def test_a_report_of_an_earlier_release_has_no_digest(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(fid(measured={})))
    assert evaluation_file.read(path)["metrics"] == FID
    evaluation_file.write(alignment(), path)
    np.testing.assert_equal(evaluation_file.read(path)["metrics"], FID | ALIGNMENT)


def test_an_infinite_value_is_refused_and_the_file_stays(tmp_path):
    path = tmp_path / "report.json"
    evaluation_file.write(fid(), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="finite numbers or NaN.*inf in report/metrics/fid_seeded"):
        evaluation_file.write(fid({"fid_seeded64": math.inf}), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_model_directory_gives_its_newest_step(tmp_path):
    for step in (900, 123_456_789, 99_999_999, 20_000):
        path = evaluation_file.default_path(str(tmp_path), step)
        evaluation_file.write(fid(step=step, model_dir=str(tmp_path)), path)
    (tmp_path / "evaluations" / "step_999999999.json.bak").write_text("{}")
    assert evaluation_file.read(tmp_path)["step"] == 123_456_789
    assert path.endswith("evaluations/step_00020000.json")


def test_missing_reports_are_named_with_the_remedy(tmp_path):
    with pytest.raises(OSError, match=f"{tmp_path} holds no evaluation.*--model_dir={tmp_path}"):
        evaluation_file.read(tmp_path)
    with pytest.raises(OSError, match="There is no report .*x.json.*oasis_tf.evaluate"):
        evaluation_file.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ("{", "is damaged: it is not JSON .*line 1.*Measure the model again"),
        ("[]", "lacks format_version, model_dir, step, dataset, metrics, protocols"),
        ('{"format_version": 1, "step": 1, "metrics": {}}', "lacks model_dir, dataset, protocols"),
        ('{"metrics": [1], "protocols": 1}', "lacks .* metrics by name, protocols by name"),
    ],
)
def test_other_files_are_refused_when_read(tmp_path, held, message):
    path = tmp_path / "report.json"
    path.write_text(held)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        evaluation_file.read(path)


def test_other_versions_are_refused(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(fid(format_version=7)))
    with pytest.raises(ValueError, match="must have format_version 1. Received: format_version=7"):
        evaluation_file.read(path)


# === Table ===


def line_of(text, start):
    """The words of the one line that begins so."""
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [start]]
    return line.split()


def test_values_have_four_digits_a_unit_and_a_direction():
    values = {
        "fid_seeded64": 12.3456,
        "kid_seeded64": 0.00123456,
        "kid_seeded64/std": 0.5,
        "precision_seeded64": 0.7,
        "alignment_compact/miou": 0.48814,
        "alignment_compact/pixel_accuracy": 1.0,
        "diversity/ms_ssim_3scales": 0.65,
        "diversity/lpips_seeded64": math.nan,
        "colour_emd/mean": 1234.56,
        "texture_chi2/mean": 123456.7,
        "lvis/map": 0.0538,
        "lvis/classes_ap_above_0": 510.0,
    }
    text = table(contents_of(values, {}))
    found = {name: " ".join(line_of(text, name)[1:]) for name in values}
    assert found == {
        "fid_seeded64": "12.35 ↓",
        "kid_seeded64": "0.001235 ↓",
        "kid_seeded64/std": "0.5000",
        "precision_seeded64": "0.7000 ↑",
        "alignment_compact/miou": "48.81 % ↑",
        "alignment_compact/pixel_accuracy": "100.0 % ↑",
        "diversity/ms_ssim_3scales": "0.6500 ↓",
        "diversity/lpips_seeded64": "– ↑",
        "colour_emd/mean": "1235. LAB units ↓",
        "texture_chi2/mean": "123457 ↓",
        "lvis/map": "5.380 % ↑",
        "lvis/classes_ap_above_0": "510 ↑",
    }


def test_the_head_says_what_was_measured_and_when(tmp_path):
    evaluation_file.write(fid(), tmp_path / "a")
    evaluation_file.write(alignment(seconds=99.0), tmp_path / "a")
    text = table(evaluation_file.read(tmp_path / "a"))
    assert text.startswith("/models/first, step 5000\nade20k (/data/ade), split val\n")
    assert "100 images of 256x256, seed 0" in text
    assert "measured fid: 12.5 s, 2026-01-02T03:04:05+00:00, oasis_tf 1.2" in text
    assert "measured alignment: 99.0 s" in text
    assert "\nfid  num_real 100, network seeded64  [1]\n" in text
    assert "\nalignment  num_generated 100, segmenter compact\n" in text
    assert "86.4 % of training pixels, 2 classes: sky, sea" in text


def test_each_note_is_printed_once():
    kid = {"kid": {"notes": [SEEDED_NOTE, "Another."]}}
    both = contents_of(FID | {"kid_seeded64": 1.0}, fid()["protocols"] | kid)
    text = table(both)
    assert text.count(SEEDED_NOTE) == 1
    assert text.endswith(f"Notes\n  [1] {SEEDED_NOTE}\n  [2] Another.")
    assert "kid  [1][2]" in text


def test_few_classes_are_all_shown():
    values = {f"alignment_x/iou/class {k}": k / 24 for k in range(24)}
    lines = table(contents_of(values, {})).splitlines()
    assert sum(line.count("class ") for line in lines) == 24
    assert any("class 12 50.00" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_of_many_classes_the_best_and_worst_are_shown():
    values = {f"alignment_x/iou/c{k}": k / 100 for k in range(30)}
    values |= {f"colour_emd/c{k}": float(k) for k in range(30)} | {"colour_emd/none": math.nan}
    text = table(contents_of(values, {}))
    assert "alignment_x/iou by class, % ↑: 30 classes, and 0 without a value" in text
    assert "best: c29 29.00, c28 28.00, c27 27.00, c26 26.00, c25 25.00\n" in text
    assert "worst: c0 0.000, c1 1.000, c2 2.000, c3 3.000, c4 4.000\n" in text
    assert "colour_emd by class, LAB units ↓: 30 classes, and 1 without a value" in text
    assert "best: c0 0.000, c1 1.000, c2 2.000, c3 3.000, c4 4.000\n" in text
    assert "worst: c29 29.00" in text
    assert "c15" not in text
    assert table(contents_of(values, {}), all_classes=True).count("c15") == 2


def test_a_class_may_be_called_mean():
    values = {"segmentation/iou/mean": 0.5, "colour_emd/mean": 3.0}
    text = table(contents_of(values, {}))
    assert "segmentation/iou by class, % ↑\n    mean 50.00\n" in text
    assert line_of(text, "colour_emd/mean")[1] == "3.000"


def test_a_long_group_does_not_break_the_table():
    contents = alignment()
    contents["protocols"]["alignment"]["groups"][0]["classes"] = ["wall", "building"] * 20
    assert max(map(len, table(contents).splitlines())) == 100


def test_values_of_no_known_metric_are_shown_too():
    assert line_of(table(contents_of({"new/value": 1.0}, {})), "new/value")


# === Comparison ===


def test_values_stand_side_by_side():
    second = fid(model_dir="/models/second", step=7000)
    second["metrics"] = {"fid_seeded64": 9.0, "kid_seeded64": 0.5}
    text = compare([fid(), second])
    assert line_of(text, "step") == ["step", "5000", "7000"]
    assert line_of(text, "size") == ["size", "256x256", "256x256"]
    assert line_of(text, "fid_seeded64") == ["fid_seeded64", "↓", "12.35", "9.000"]
    assert line_of(text, "kid_seeded64") == ["kid_seeded64", "↓", "–", "0.5000"]
    assert text.splitlines()[0].split() == ["first", "second"]
    assert "WARNING" not in text


def test_published_values_stand_in_rows_of_their_own_protocol_alone():
    metrics = FID | ALIGNMENT | {"fid_inception2015_unverified": 31.5, "fid_inception2015": 31.6}
    metrics |= {"alignment_upernet101/miou": 0.45, "diversity/ms_ssim_3scales": 0.7}
    text = compare([contents_of(metrics, {})])
    ours, theirs = text.split("\n\nPublished for ade20k at 256x256.")
    assert not re.search(r"28\.3|48\.8\b|0\.65\b", ours)
    for name in ("seeded64", "compact", "unverified", "3scales"):
        assert name in ours
        assert name not in theirs
    assert line_of(theirs, "fid_inception2015")[2:5] == ["31.60", "28.3", "31.6"]
    assert line_of(theirs, "alignment_upernet101/miou")[3:5] == ["45.00", "48.8"]
    assert line_of(theirs, "diversity/ms_ssim_5scales")[2:4] == ["–", "0.65"]
    assert "must not be compared" in theirs
    assert "[1] OASIS: ICLR 2021, table 1" in theirs
    assert "alignment_upernet101/miou: measured by UperNet101" in theirs


def test_differences_are_warned_of():
    other = fid(seed=3, num_images=50, height=64, dataset="shapes", data_dir="/data/shapes")
    text = compare([fid(), other])
    assert "WARNING: the reports differ in data, data folder, images, seed, size: not" in text
    assert line_of(text, "seed") == ["seed", "0", "3"]
    assert line_of(text, "size") == ["size", "256x256", "64x256"]
    assert "No values are published for the data set shapes." in text


def test_data_of_the_same_name_in_other_places_is_told_apart():
    text = compare([fid(), fid(data_dir="/other/ade", model_dir="/b/first")])
    assert "differ in data folder:" in text
    assert "data/ade  other/ade" in text
    assert text.splitlines()[0].split() == ["models/first", "b/first"]


def test_other_protocols_are_warned_of_but_for_notes():
    other = fid()
    other["protocols"]["fid"] |= {"num_real": 99, "notes": []}
    text = compare([fid(), other], names=["a", "b"])
    assert "WARNING: fid was measured differently for a and b: num_real.\n" in text


def test_what_a_detector_found_is_no_difference_of_protocol():
    one, other = (
        contents_of({"lvis/map": k}, {"lvis": {"class_ap": {"cat": k}, "detections": f"{k}.json"}})
        for k in (0.1, 0.2)
    )
    assert "WARNING: lvis" not in compare([one, other])


def test_another_size_than_the_published_one_is_warned_of():
    text = compare([fid(height=64, width=64)])
    assert "WARNING: these reports are of 64x64, the published values of 256x256." in text
    outdoors = compare([fid(dataset="ade_outdoors")])
    assert "WARNING: Which scenes" in outdoors
    assert "these reports are of" not in outdoors


def test_steps_of_one_model_are_told_apart():
    text = compare([fid(), fid(step=6000)])
    assert text.splitlines()[0].split() == ["first@5000", "first@6000"]


def test_each_data_set_has_its_own_published_rows():
    text = compare([fid(), fid({"lvis/map": 0.04}, dataset="lvis")])
    assert line_of(text.split("Published for lvis")[1], "lvis/map")[3:5] == ["4.000", "5.38"]


@pytest.mark.parametrize(("reports", "names"), [([], None), ([fid()], ["a", "b"])])
def test_nothing_to_compare_is_refused(reports, names):
    with pytest.raises(ValueError, match=f"At least one report.*{len(reports)} reports"):
        compare(reports, names)


def test_the_command_heads_columns_with_the_directories_given(run_module, tmp_path):
    for name in ("a", "b"):
        model_dir = str(tmp_path / name / "model")
        contents = fid(model_dir="/where/it/was/measured")
        evaluation_file.write(contents, evaluation_file.default_path(model_dir, 5000))
    done = run_module("oasis_tf.evaluate", "--compare=a/model,b/model/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["a/model", "b/model/"]
