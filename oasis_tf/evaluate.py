"""Command: measure a model on the validation split of a prepared data set.

    python -m oasis_tf.evaluate --model_dir=DIR --data_dir=DIR --metrics=fid,segmentation,alignment
    python -m oasis_tf.evaluate --compare=DIR1,DIR2

Metrics, of one generated image for each validation label map (or image, of a model without label
maps) unless said otherwise:
    fid, kid, precision_recall: features of generated against real images. The network is part of
        every value's name: fid_inception2015 with --inception, fid_seeded64 without.
    segmentation: the discriminator as a segmenter of the real validation images.
    alignment: generated images under a segmenter: IoU with the label maps that they are made from.
    diversity, class_diversity: MS-SSIM and LPIPS among images of one label map.
    colour, texture: distances of histograms, class by class.
    lvis: average precision of --lvis_detections, which an external detector found on generated
        images.
Of a model that has learnt from a few pictures (default: all that the model can have):
    fid: as many generated images as pictures in --data_dir, which must be held out.
    intra_lpips: LPIPS among 1000 images, of those with the same nearest training picture.
    path_roughness: the largest change of the image along a line of latents, against the mean one.
    head_shares: the share of each head of the discriminator in the losses, with --d_loss=all.
Of a model that has learnt from one picture or one clip (default: all of them):
    sifid: Frechet distances of the features inside an image, at four depths.
    sample_diversity: MS-SSIM, LPIPS and pixel diversity among samples.
    training_distance: LPIPS to the nearest training picture, augmented and as it is.
    mask_score: generated masks under a segmenter that is trained on the samples, and the reverse.
A metric that a model cannot have is refused by name.

Values, and all that they depend on, are printed and kept in DIR/evaluations/. docs/evaluation.md
says what is comparable with published numbers.
"""

import dataclasses

from absl import flags

from oasis_tf import pretrained, systems
from oasis_tf.cli import common_flags, runner
from oasis_tf.metrics.settings import EvaluationConfig, PicturesEvaluationConfig
from oasis_tf.settings import path_flags, setting_flags

_SETTINGS = (EvaluationConfig, PicturesEvaluationConfig)


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    common_flags.define_model_dir_flag(flag_values, required=False)
    path_flags.define_path(
        "data_dir",
        None,
        "Prepared data set, or pictures, held-out ones of few_shot; default: those trained on.",
        **where,
    )
    flags.DEFINE_list(
        "metrics",
        None,
        "Metrics, separated by commas. (default: fid,segmentation,alignment, or all of a model of "
        "a few pictures)",
        **where,
    )
    common_flags.define_checkpoint_flag(flag_values)
    flags.DEFINE_integer(
        "seed", 0, "The i-th image is generated with seed --seed + i.", lower_bound=0, **where
    )
    flags.DEFINE_integer("batch_size", 16, "Images at a time.", lower_bound=1, **where)
    flags.DEFINE_bool(
        "skip_corrupt",
        False,
        "Leave out records of the data set that cannot be read or decoded; they are reported.",
        **where,
    )
    path_flags.define_path(
        "json", None, "A second file of the values, beside that in the model directory.", **where
    )
    path_flags.define_path("plots", None, "Folder for plots, PNG (extra `eval`).", **where)
    path_flags.define_paths(
        "compare",
        None,
        "Instead of measuring: print the values of these model directories or JSON files side by "
        "side, with the published ones.",
        **where,
    )
    fields = {field.name: field for kind in _SETTINGS[::-1] for field in dataclasses.fields(kind)}
    setting_flags.define_fields(fields.values(), flag_values)


def main(argv):
    """Checks the request, measures, prints and writes the values."""
    del argv
    args = flags.FLAGS
    if args.compare:
        from oasis_tf.metrics.reports import comparison, evaluation_file

        reports = [evaluation_file.read(path) for path in args.compare]
        print(comparison.compare(reports, args.compare))
        return
    if not args.model_dir:
        raise ValueError("`model_dir` must be given: --model_dir=DIR, or --compare=DIR1,DIR2.")
    config = systems.of_model_dir(args.model_dir).config.load(args.model_dir)
    settings = _settings(config)
    from oasis_tf.metrics import evaluation
    from oasis_tf.metrics.reports import table  # here: bad flags answer without TensorFlow

    evaluation.evaluate_model(
        args.model_dir,
        args.data_dir,
        args.metrics,
        settings,
        checkpoint=common_flags.checkpoint(args.checkpoint),
        seed=args.seed,
        batch_size=args.batch_size,
        skip_corrupt=args.skip_corrupt,
        json_path=args.json or _beside(args.model_dir),
        plots=args.plots,
        show=lambda contents: print(table.table(contents), flush=True),
    )


def _settings(config):
    """The settings of the given flags, of the kind that the system's models are measured with.

    Raises:
        ValueError: a flag of the other kind is given.
    """
    own = getattr(config, "evaluation", PicturesEvaluationConfig())
    for kind in _SETTINGS:
        for field in dataclasses.fields(kind):
            if not hasattr(own, field.name) and flags.FLAGS[field.name].value is not None:
                raise ValueError(
                    f"`--{field.name}` must concern the metrics of the model. Received: it for a "
                    f"model of --system={config.SYSTEM}, which has none that use it. Leave it out."
                )
    return setting_flags.section_settings(own)


def _beside(model_dir):
    """The file for the values of a shipped model, which is not written into; None for others."""
    name = pretrained.name_of(model_dir)
    return f"{name}.json" if name else None


if __name__ == "__main__":
    runner.run(main, define_flags)
