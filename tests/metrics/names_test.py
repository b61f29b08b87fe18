"""Names of values: their metric, which way is better, whether they stand for all classes."""

import pytest

from oasis_tf.metrics import evaluation, names
from oasis_tf.metrics.pictures import evaluation as of_pictures

# (value name, metric, whether higher is better, whether it stands for all classes)
VALUES = [
    ("fid_inception2015", "fid", False, True),
    ("fid_seeded64", "fid", False, True),
    ("kid_keras_imagenet", "kid", False, True),
    ("kid_seeded64/std", "kid", False, False),
    ("precision_vgg16", "precision_recall", True, True),
    ("recall_seeded64", "precision_recall", True, True),
    ("segmentation/miou", "segmentation", True, True),
    ("segmentation/pixel_accuracy", "segmentation", True, True),
    ("segmentation/iou/sky", "segmentation", True, False),
    ("segmentation/miou_group_1", "segmentation", True, False),
    ("alignment_compact/miou", "alignment", True, True),
    ("alignment_upernet101/iou/sky", "alignment", True, False),
    ("segmenter_compact/miou", "alignment", True, True),
    ("diversity/ms_ssim_5scales", "diversity", False, True),
    ("diversity/ms_ssim_3scales", "diversity", False, True),
    ("diversity/lpips_alex", "diversity", True, True),
    ("class_diversity/lpips_seeded64", "class_diversity", True, False),
    ("class_diversity/ms_ssim_5scales", "class_diversity", False, False),
    ("colour_emd/mean", "colour", False, True),
    ("colour_emd/sky", "colour", False, False),
    ("texture_chi2/mean", "texture", False, True),
    ("texture_chi2/sky", "texture", False, False),
    ("lvis/map", "lvis", True, True),
    ("lvis/classes_ap_above_0", "lvis", True, True),
]


@pytest.mark.parametrize(("value", "metric", "higher", "summary"), VALUES)
def test_what_a_name_tells(value, metric, higher, summary):
    assert names.metric_of(value) == metric
    assert names.higher_is_better(value) is higher
    assert names.is_summary(value) is summary


@pytest.mark.parametrize(
    "value", ["", "fid", "speed/steps_per_second", "my_fid_seeded64", "loss_g"]
)
def test_other_names_belong_to_no_metric(value):
    assert names.metric_of(value) is None


def test_every_metric_has_names_of_its_own():
    assert set(names.PREFIXES) == {*evaluation.METRICS, *of_pictures.METRICS}
    starts = [start for found in names.PREFIXES.values() for start in found]
    for start in starts:
        assert [other for other in starts if start.startswith(other)] == [start]


@pytest.mark.parametrize(
    "value",
    ["segmenter_compact/miou", "kid_seeded64/std", "class_diversity/change_outside/mean"],
)
def test_values_that_do_not_tell_how_good_a_model_is(value):
    assert not names.is_criterion(value)
    assert names.is_criterion("alignment_compact/miou")
