"""Does the iteration on JAX compute what the tests' golden file holds? By the rows of `parity`."""

import jax
import keras
import numpy as np

from benchmarks import golden_files
from benchmarks.oasis import parity, recordings
from benchmarks.oasis.jax_iteration import JaxOASIS
from oasis_tf.systems.oasis.models import Discriminator, Generator
from oasis_tf.systems.oasis.objectives import SegmentationObjective
from oasis_tf.systems.oasis.official import release_weights
from oasis_tf.training.optimizer import Adam

_INPUTS = ("label", "image", "z", "z3d_local", "G_eval")


def compare(dtype):
    """Compares the iteration with the golden file: list of `parity.Row`.

    Args:
        dtype: "float32" or "float64", on which JAX is set; the file is in single precision, and so
            are the tolerances.
    """
    recording = _as(golden_files.load(recordings.GOLDEN), dtype)
    jax.config.update("jax_enable_x64", dtype == "float64")
    with jax.default_matmul_precision("highest"):
        model = _model(recording)
        computed = _evaluation(model, recording) | parity.losses(recording)
        return parity.rows(recording, computed | _training(model, recording))


def _as(recording, dtype):
    """A recording whose settings and floats are of a type."""
    meta = golden_files.meta(recording) | {"dtype": dtype}
    arrays = {
        name: array.astype(dtype) if array.dtype.kind == "f" else array
        for name, array in recording.items()
    }
    return arrays | {"meta": np.array(str(meta))}


def _model(recording):
    """The parts of `parity.new_model`."""
    settings = recordings.Settings.of(recording)
    classes, options = settings.num_classes, {"dtype": settings.dtype}
    generator = Generator(classes, settings.noise_channels, settings.channels, **options)
    discriminator = Discriminator(classes, settings.discriminator_channels, **options)
    release_weights.load_official(generator, golden_files.part(recording, "G0"))
    release_weights.load_official(discriminator, golden_files.part(recording, "D0"))
    return JaxOASIS(
        generator,
        discriminator,
        SegmentationObjective(classes, settings.has_unknown),
        lambda rate, name: Adam(rate, name=name),
        settings.lr_g,
        settings.lr_d,
        settings.lambda_labelmix,
        settings.ema_decay,
    )


def _evaluation(model, recording):
    variables = [*model.generator.variables, *model.discriminator.variables]

    def compute(values, inputs):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return parity.evaluation(model, inputs)

    inputs = {name: recording[name] for name in _INPUTS}
    # One executable: one by one, a GPU would compile hundreds of small operations.
    found = jax.jit(compute)([variable.value for variable in variables], inputs)
    return _arrays(found)


def _training(model, recording):
    """What `parity.training` returns: losses, first gradients, all weights."""
    names = ("image", "label_map", "noise", "discriminator_noise", "labelmix_bits")
    step, state = jax.jit(model.iteration_with_gradients), model.state()
    history, found = [], {}
    for number in range(recordings.STEPS):
        batch = dict(zip(names, parity.draws(recording, number), strict=True))
        state, logs, gradients = step(state, batch)
        history.append([float(logs[name]) for name in recordings.HISTORY])
        for name, of in gradients.items() if number == 0 else ():
            of = parity.official_gradients(_arrays(of))
            found |= golden_files.prefixed(f"grad{name[0].upper()}", of)
    model.assign(state)
    history = {recordings.HISTORY_ENTRY: np.array(history)}
    return found | parity.final_weights(model) | history


def _arrays(values):
    return {name: np.asarray(value) for name, value in values.items()}
