"""Our contender's side for OASIS."""

LIBRARIES = "oasis_tf.systems.oasis.task"
_SETTLING_PASSES, _SETTLING_SIDE = 3, 64


def make(setup, arrays, precision, **switches):
    """(run, variables) of a setup; see `benchmarks/settings.py`."""
    of_task = {"step": _step, "generate": _generate}[setup["task"]]
    return of_task(new_config(setup, precision, **switches), arrays)


def new_config(setup, precision, **options):
    """The ``Config`` that a setup stands for."""
    from oasis_tf.data.datasets import folder_label_space
    from oasis_tf.systems.oasis import config

    return config.Config(
        model=config.ModelConfig(
            num_classes=setup["num_classes"],
            has_unknown=setup["has_unknown"],
            has_discriminator=setup["task"] == "step",
            noise_channels=setup["noise_channels"],
            generator_channels=setup["channels"],
            discriminator_channels=setup["channels"],
            spade_channels=setup["spade_channels"],
        ),
        data=config.DataConfig(crop_height=setup["height"], crop_width=setup["width"]),
        training=config.TrainingConfig(
            steps=1,
            batch_size=setup["batch_size"],
            mixed_precision="none" if precision == "float32" else precision,
            **options,
        ),
        label_space=folder_label_space(setup["num_classes"], 0 if setup["has_unknown"] else None),
    )


def _step(config, arrays):
    """(run, variables) of training: the step that `oasis_tf.train` runs."""
    import tensorflow as tf

    from oasis_tf.systems.oasis.task import OASISTask
    from oasis_tf.training.strategies import make_strategy

    task = OASISTask(config, make_strategy("none"))
    pairs = zip(arrays["image"], arrays["label_map"], strict=True)
    batches = [tuple(map(tf.constant, pair)) for pair in pairs]

    def run(index):
        float(task.train_step(batches[index % len(batches)])["loss_d"])

    return run, task.variables().values()


def _generate(config, arrays):
    """(run, variables) of generating, as users do it."""
    from oasis_tf.systems.oasis.build import build_model, state_variables

    model = build_model(config, config.training.mixed_precision)
    label_maps, noise = arrays["label_map"], arrays["noise"]
    _settle(model, label_maps[0], noise[0])

    def run(index):
        index %= len(label_maps)
        model.generate(label_maps[index], noise=noise[index] if noise.shape[-1] else None)

    return run, state_variables(model).values()


def _settle(model, label_map, noise):
    """Gives fresh weights a sane scale: spectral norms need to have seen a few passes."""
    small = label_map[:, :_SETTLING_SIDE, :_SETTLING_SIDE]
    for _ in range(_SETTLING_PASSES):
        model.generator(*([small, noise] if noise.shape[-1] else [small]), training=True)
    model.generator_ema.set_weights(model.generator.get_weights())
