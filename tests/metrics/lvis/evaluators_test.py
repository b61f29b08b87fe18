"""The metric lvis: which files it needs, and what it says of what it found."""

import types

import pytest

from oasis_tf.metrics import evaluation
from oasis_tf.metrics.lvis import scoring
from oasis_tf.metrics.lvis.evaluators import LVISEvaluator
from oasis_tf.metrics.settings import EvaluationConfig


def settings(folder, annotations=True, detections=True):
    paths = {}
    for name, wanted in (("lvis_annotations", annotations), ("lvis_detections", detections)):
        if wanted:
            (folder / name).write_text("[]")
        paths[name] = str(folder / name)
    return EvaluationConfig(**paths)


@pytest.mark.parametrize("missing", ["annotations", "detections"])
def test_both_files_are_needed(tmp_path, missing):
    LVISEvaluator.check(settings(tmp_path), None)
    (tmp_path / f"lvis_{missing}").unlink()
    wanted = rf"--lvis_annotations=.*--lvis_detections=.*Received: lvis_{missing}="
    with pytest.raises(ValueError, match=wanted):
        LVISEvaluator.check(settings(tmp_path, **{missing: False}), None)
    with pytest.raises(ValueError, match="Received: lvis_annotations=None"):
        LVISEvaluator.check(EvaluationConfig(), None)


@pytest.mark.parametrize(("seen", "said"), [(9, False), (4, True)])
def test_values_and_what_they_depend_on(tmp_path, monkeypatch, seen, said):
    found = scoring.LvisResult(0.25, 1, 2, {"cat": 0.5, "dog": 0.0}, 10, seen)
    asked = []
    monkeypatch.setattr(
        scoring, "lvis_average_precision", lambda *paths: asked.append(paths) or found
    )
    context = types.SimpleNamespace(settings=settings(tmp_path))
    evaluators = evaluation.make_evaluators(context, ["lvis"])
    result = evaluators["lvis"].result([evaluators["lvis"].state()])
    assert asked == [(str(tmp_path / "lvis_annotations"), str(tmp_path / "lvis_detections"))]
    assert result.values == {"lvis/map": 0.25, "lvis/classes_ap_above_0": 1.0}
    assert result.protocol["class_ap"] == {"cat": 0.5, "dog": 0.0}
    assert result.protocol["classes_with_truth"] == 2
    assert any(f"Only {seen} of 10 images" in note for note in result.protocol["notes"]) is said


def test_no_image_is_read_for_it():
    assert not LVISEvaluator.needs_images
