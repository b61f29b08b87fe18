"""Which flags of `synthesize` go together."""

import pytest

from oasis_tf.systems.oasis.synthesis.modes import MODES, choose_mode

COMMON = ("model_dir", "output")


@pytest.mark.parametrize(
    ("mode", "given"),
    [
        ("labels", ("labels", "num_samples", "resample_classes", "grid", "skip_existing")),
        ("labels", ("labels", "interpolate", "interpolation", "animation", "frame_ms", "region")),
        ("from_images", ("from_images", "resample_classes", "interpolate", "size")),
        ("labels", ("labels", "style", "num_samples", "grid")),
        ("segment_only", ("from_images", "segment_only", "height", "width", "skip_existing")),
        ("labelmix", ("labelmix", "labels", "from_images", "label_format", "grid")),
        ("labelmix", ("labelmix", "data_dir", "num_scenes", "seed")),
        ("labelmix", ("labelmix",)),
        ("augment", ("augment", "data_dir", "num_samples", "overwrite", "checkpoint")),
    ],
)
def test_flags_tell_what_is_asked(mode, given):
    assert choose_mode((*COMMON, *given)) == mode


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "either --labels or --from_images.*Received: neither"),
        (("labels", "from_images"), "Received: --from_images and --labels"),
        (("labelmix", "augment"), "--labelmix and --augment ask for different things"),
        (("labels", "segment_only"), "--segment_only needs --from_images"),
        (("labels", "overwrite", "skip_existing"), "--overwrite and --skip_existing exclude"),
        (("labels", "resample_classes", "region"), "--resample_classes and --region exclude"),
        (("labels", "style", "region"), "--style and --region exclude each other"),
        (("labels", "animation"), "--animation needs --interpolate"),
        (("labels", "interpolation"), "--interpolation needs --interpolate"),
        (("labels", "interpolate", "frame_ms"), "--frame_ms needs --animation"),
        (("labels", "data_dir"), "--data_dir and --labels exclude each other"),
        (("labelmix", "from_images", "num_scenes"), "--num_scenes and --from_images exclude"),
        (("from_images", "label_format"), "--label_format cannot be used with --from_images"),
        (("labels", "num_scenes"), "--num_scenes cannot be used with --labels"),
        (
            ("from_images", "segment_only", "seed", "grid"),
            "--grid and --seed cannot be used with --segment_only",
        ),
        (("augment", "labels"), "--labels cannot be used with --augment"),
        (("augment", "skip_existing"), "--skip_existing cannot be used with --augment"),
        (("labelmix", "region"), "--region cannot be used with --labelmix"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        choose_mode((*COMMON, *given))


def test_every_flag_of_the_command_has_a_meaning_somewhere():
    from absl import flags

    from oasis_tf.systems.oasis.synthesis import command as synthesize

    values = flags.FlagValues()
    synthesize.define_flags(values)
    assert set(values) - {"help", "helpfull", "helpshort", "helpxml"} == set.union(*MODES.values())
    assert set(synthesize._WORK) == set(MODES)
