"""Do our networks compute what a recording of a PyTorch OASIS holds?

    python -m benchmarks.parity        # the official release's recording
    python -m benchmarks.parity --golden=FILE.npz
    python -m benchmarks.parity --height=64 --width=128 --noise_channels=0 …

With a flag for a setting, the recording is made on the spot by the PyTorch peer, the other settings
at their defaults. Prints a row per item (tolerance, what was measured, where it was largest) and
exits with 1 if a row fails. Recordings are described in tests/golden/README.md.

Unless `--dtype=float32` is given, recordings made on the spot, and our networks with them, are in
double precision: in single precision one rounding error in front of a ReLU's kink, or in a gradient
of whose size Adam keeps little but the sign, can outgrow the tolerances within an iteration. (The
peer is then as far from itself in double precision as we are from it. The official recording is in
single precision and happens to be free of such a place.)
"""

import dataclasses

import numpy as np
from absl import flags

from benchmarks import parity_rows
from benchmarks.golden_files import keep_gradients, load, nhwc, part, prefixed
from benchmarks.oasis.recordings import GOLDEN, HISTORY, HISTORY_ENTRY, STEPS, Settings
from benchmarks.parity_rows import Row, largest, ratio, relative, row_of
from oasis_tf.settings import path_flags
from oasis_tf.systems.oasis.official import release_weights

# Generator biases that only feed batch norms: their gradient is zero but for rounding, so that the
# sign of every Adam step of theirs is chance.
CHANCE = {
    "fc.bias",
    *(f"body.{k}.conv_0.bias" for k in range(6)),
    *(f"body.{k}.conv_1.bias" for k in range(5)),
    *(f"body.{k}.norm_s.mlp_beta.bias" for k in range(2, 5)),
}
_STATISTICS, _VECTORS = ("running_mean", "running_var"), ("weight_u", "weight_v")


def compare(recording):
    """Compares everything our networks compute with a recording: list of `Row`."""
    model = new_model(recording)
    computed = evaluation(model, recording) | losses(recording) | training(model, recording)
    return rows(recording, computed)


# === What our networks compute ===


def new_model(recording):
    """An ``OASIS`` with the settings, starting weights and optimizers of a recording."""
    from oasis_tf.systems.oasis.models import Discriminator, Generator
    from oasis_tf.systems.oasis.models.oasis import OASIS
    from oasis_tf.training.optimizer import Adam

    settings = Settings.of(recording)
    classes, options = settings.num_classes, {"dtype": settings.dtype}
    generator = Generator(classes, settings.noise_channels, settings.channels, **options)
    discriminator = Discriminator(classes, settings.discriminator_channels, **options)
    release_weights.load_official(generator, part(recording, "G0"))
    release_weights.load_official(discriminator, part(recording, "D0"))
    model = OASIS(
        generator,
        discriminator,
        has_unknown=settings.has_unknown,
        lambda_labelmix=settings.lambda_labelmix,
        ema_decay=settings.ema_decay,
        **options,
    )
    model.compile(Adam(settings.lr_g), Adam(settings.lr_d))
    return model


def evaluation(model, recording):
    """Outputs in evaluation mode, by the recording's names and in its layout."""
    from keras import ops  # its backend is chosen by then

    label_map = recording["label"].astype(np.int32)
    local_noise = nhwc(recording["z3d_local"])
    image, blocks = _with_blocks(model.generator, label_map, recording["z"][0])
    found = {f"G_eval_block{k}": features for k, features in enumerate(blocks)}
    found["G_eval"] = image
    found["G_eval_local"] = model.generator(*_present(label_map, local_noise))
    found["D_eval_real"] = model.discriminator(nhwc(recording["image"]))
    found["D_eval_fake"] = model.discriminator(nhwc(recording["G_eval"]))
    return {name: ops.moveaxis(array, -1, 1) for name, array in found.items()}


def losses(recording):
    """Class weights and the losses of the recorded logits, by the recording's names."""
    from oasis_tf.systems.oasis import losses as ours

    settings, label_map = Settings.of(recording), recording["label"].astype(np.int32)
    weights = ours.class_weights(
        label_map, settings.num_classes, settings.has_unknown, settings.dtype
    )
    found = {"class_weight_map": np.asarray(weights)[label_map]}
    for of in ("real", "fake"):
        logits = nhwc(recording[f"D_eval_{of}"])
        found[f"loss_as_real_{of}"] = np.asarray(ours.real_loss(logits, label_map, weights))
        found[f"loss_as_fake_{of}"] = np.asarray(ours.fake_loss(logits))
    return found


def training(model, recording, compiled=True):
    """Trains a model on a recording's inputs.

    Args:
        model: ``OASIS`` as `new_model` returns it; changed.
        recording: the recording.
        compiled: bool, whether iterations run inside a ``tf.function``, as training does.

    Returns:
        dict by the recording's names: losses, first gradients, and all weights in full.
    """
    import tensorflow as tf

    gradients = []
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        keep_gradients(optimizer, gradients)

    def iteration(*draws):
        gradients.clear()
        logs = model.iteration(*draws)
        return logs, list(gradients)

    iteration = tf.function(iteration, autograph=False) if compiled else iteration
    history, found = [], {}
    for step in range(STEPS):
        logs, seen = iteration(*draws(recording, step))
        history.append([float(logs[name]) for name in HISTORY])
        for which, of in zip("GD", seen, strict=True) if step == 0 else ():
            found |= prefixed(f"grad{which}", official_gradients(of))
    return found | final_weights(model) | {HISTORY_ENTRY: np.array(history)}


def official_gradients(gradients):
    """Gradients of a network, by our names in it, in the recording's names and layout."""
    names = release_weights.official_names(gradients)
    return {name: release_weights.official_layout(ours, gradients) for name, ours in names}


def final_weights(model):
    """All weights of a trained model, by the recording's names."""
    networks = {"G": model.generator, "D": model.discriminator, "EMA": model.generator_ema}
    found = {}
    for which, network in networks.items():
        weights = release_weights.to_official(network).items()
        weights = {k: array for k, array in weights if not k.endswith(release_weights.COUNTER)}
        found |= prefixed(f"{which}{STEPS}", weights)
    return found


def _with_blocks(generator, label_map, noise):
    """(image, output of every block), all NHWC."""
    outputs = []

    def keeping(call):
        def call_and_keep(*inputs, **options):
            outputs.append(call(*inputs, **options))
            return outputs[-1]

        return call_and_keep

    for block in generator.blocks:
        block.call = keeping(block.call)
    image = generator(*_present(label_map, noise))
    for block in generator.blocks:
        del block.call
    return image, outputs


def draws(recording, step):
    """Arguments of ``OASIS.iteration``."""
    noise = [z if z.shape[-1] else None for z in recording["z"][2 * step : 2 * step + 2]]
    label_map = recording["label"].astype(np.int32)
    bits = recording["labelmix_bits"][step].astype(np.int32)
    return nhwc(recording["image"]), label_map, *noise, bits


def _present(label_map, noise):
    """Inputs of a generator: noise without channels is left out."""
    return (label_map, noise) if noise.shape[-1] else (label_map,)


# === The comparison ===


def rows(recording, computed):
    """Compares, item by item, what was computed with a recording.

    Args:
        recording: the recording.
        computed: dict of the same names and layouts, all weights and gradients in full.

    Returns:
        list of `Row`.

    Raises:
        ValueError: the recording lacks a weight or a gradient, or has surplus ones.
    """
    return [
        *output_rows(recording, computed),
        *loss_rows(recording, computed),
        *gradient_rows(recording, computed),
        *history_rows(recording, computed),
        *weight_rows(recording, computed),
    ]


def output_rows(recording, computed):
    """Outputs in evaluation mode: absolute errors."""
    items = [("generator", 1e-5, "G_eval")]
    items += [(f"generator, block {k}", 1e-5, f"G_eval_block{k}") for k in range(6)]
    items += [("generator, spatial noise", 1e-5, "G_eval_local")]
    items += [(f"discriminator, {of} image", 1e-4, f"D_eval_{of}") for of in ("real", "fake")]
    return [
        Row(item, tolerance, largest(computed[name] - recording[name]))
        for item, tolerance, name in items
    ]


def loss_rows(recording, computed):
    """Class weights and the losses of recorded logits: relative errors."""
    items = {"class weights": "class_weight_map"}
    for of in ("real", "fake"):
        items |= {f"loss as {to}, {of} image": f"loss_as_{to}_{of}" for to in ("real", "fake")}
    return [
        Row(item, 1e-6, relative(computed[name], recording[name])) for item, name in items.items()
    ]


def history_rows(recording, computed):
    """Losses of every iteration: relative errors."""
    pairs = zip(computed[HISTORY_ENTRY], recording[HISTORY_ENTRY], strict=True)
    return [
        row_of(
            f"iteration {number}: losses",
            1e-5,
            {name: relative(a, b) for name, a, b in zip(HISTORY, got, want, strict=True)},
        )
        for number, (got, want) in enumerate(pairs, start=1)
    ]


def gradient_rows(recording, computed):
    """Gradients of the first iteration: all norms, and in full what was recorded in full.

    Errors of norms are relative, others in terms of the largest entry.
    """
    found = []
    for which in "GD":
        got, want = part(computed, f"grad{which}"), part(recording, f"grad{which}")
        norms = part(recording, f"grad{which}_norm")
        _check_names(f"grad{which}_norm", norms, got)
        full = {k: ratio(largest(got[k] - want[k]), largest(want[k])) for k in _no_chance(want)}
        zero = {k: max(_norm(got[k]), norms[k]) for k in norms if k in CHANCE}
        found += _rows(
            f"gradients of {which}",
            ("norms", 1e-4, {k: relative(_norm(got[k]), norms[k]) for k in _no_chance(norms)}),
            ("in full", 1e-4, full),
            ("zero but for rounding", 1e-5, zero),
        )
    return found


def weight_rows(recording, computed):
    """Weights after all iterations.

    Errors of weights in full are in terms of the update's norm, those of batch statistics relative.
    """
    found = []
    for which in ("G", "D", "EMA"):
        start = part(recording, "D0" if which == "D" else "G0")
        got, want = part(computed, f"{which}{STEPS}"), part(recording, f"{which}{STEPS}")
        norms = part(recording, f"{which}{STEPS}_norm")
        _check_names(f"{which}{STEPS}_norm", norms, got)
        found += _rows(
            f"{which} after {STEPS} iterations",
            *_update_items(got, want, norms, start),
            *_statistics_items(got, want),
            *_chance_items(got, start, Settings.of(recording).lr_g),
        )
    return found


def _update_items(got, want, norms, start):
    names = [k for k in _no_chance(norms) if not k.endswith(_STATISTICS)]
    full = {k: _off_update(got[k], want[k], start[k]) for k in names if k in want}
    return [
        ("norms", 1e-3, {k: _off_norm(got[k], norms[k], start[k]) for k in names}),
        ("updates", 1e-3, {k: error for k, error in full.items() if not k.endswith(_VECTORS)}),
        ("updates of u and v", 1e-3, {k: e for k, e in full.items() if k.endswith(_VECTORS)}),
    ]


def _statistics_items(got, want):
    means, variances = ([k for k in want if k.endswith(leaf)] for leaf in _STATISTICS)
    # The biases whose steps are chance move the means, but nothing else.
    off = {k: ratio(_norm(got[k] - want[k]), _norm(want[k])) for k in means}
    return [
        ("running variances", 1e-5, {k: relative(got[k], want[k]) for k in variances}),
        ("running means", 5e-3, off),
    ]


def _chance_items(got, start, rate):
    moved = {k: largest(got[k] - start[k]) for k in got if k in CHANCE}
    return [("biases without gradient", STEPS * 2 * rate, moved)]


def _off_update(got, want, start):
    # An update smaller than a thousand roundings of its array cannot be known to a thousandth.
    resolution = 1e3 * np.finfo(want.dtype).eps * _norm(want)
    return _norm(got - want) / max(_norm(want - start), resolution)


def _off_norm(got, norm, start):
    # A norm moves by at most as much as its array; the rest is rounding, 1e-6 at the tolerance.
    return abs(_norm(got) - norm) / (_norm(got - start) + 1e-3 * norm)


def _rows(subject, *items):
    """Rows of (item, tolerance, errors by name), but for items of which nothing is recorded."""
    return [row_of(f"{subject}: {item}", *rest, errors) for item, *rest, errors in items if errors]


def _no_chance(names):
    return [name for name in names if name not in CHANCE]


def _check_names(prefix, recorded, computed):
    differing = set(recorded) ^ set(computed)
    if differing:
        raise ValueError(
            f"A recording must hold exactly the network's weights under {prefix}/. "
            f"Missing or surplus: {', '.join(sorted(differing))}."
        )


def _norm(array):
    return float(np.linalg.norm(np.asarray(array, np.float64)))


# === The command ===


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`: a file, or one per setting."""
    where = {"flag_values": flag_values}
    path_flags.define_path(
        "golden", None, "File to compare with; default: the official release's.", **where
    )
    kinds = {int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_boolean}
    for field in dataclasses.fields(Settings):
        help_text = f"Of a recording made on the spot; default: {field.default}."
        if field.name == "dtype":
            flags.DEFINE_enum("dtype", None, ["float32", "float64"], help_text, **where)
        else:
            kinds[field.type](field.name, None, help_text, **where)


def main(argv):
    """Compares, prints the table, and exits with 1 if a row fails."""
    del argv
    parity_rows.report(compare(_recording(flags.FLAGS)))


def _recording(args):
    """The recording that the flags ask for."""
    given = {field.name: args[field.name].value for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return load(args.golden or GOLDEN)
    if args.golden:
        raise ValueError(f"--golden has settings of its own. Received also: {', '.join(given)}.")
    settings = Settings(**given)
    try:
        from benchmarks.oasis import recording
    except ImportError as error:
        raise ValueError(str(error)) from error
    return recording.record(settings)
