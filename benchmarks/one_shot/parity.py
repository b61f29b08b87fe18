"""Do our networks compute what a recording of a PyTorch SIV-GAN or OSMIS holds?

    python -m benchmarks.parity --system=one_shot --golden=tests/golden/sivgan.npz

Any file of that form will do; its settings stand in the file. Prints a row per item (tolerance,
what was measured, where it was largest), then what is not compared, and why. Exits with 1 if a row
fails. An entry that is missing or unknown is an error. Files are described in
tests/golden/README.md.
"""

import functools
import re

import numpy as np

from benchmarks import golden_command, golden_files, golden_runs
from benchmarks.golden_files import keep_gradients, nchw, nhwc, part, prefixed
from benchmarks.one_shot import recordings
from benchmarks.parity_rows import Row, largest, relative, row_of, share_of_largest
from oasis_tf.systems.one_shot.official import weights

HISTORY = (
    *(f"loss_g_{name}" for name in ("content", "layout", "low", "diversity")),
    *(f"loss_{of}_{name}" for of in ("real", "fake") for name in ("content", "layout", "low")),
)
_SHARE = 1e-3  # of the weights, whose first steps of Adam are chance
_NETWORKS = {"G": "generator", "D": "discriminator", "EMA": "generator_ema"}


def compare(recording, dtype="float32"):
    """Compares everything our networks compute with a recording.

    Returns:
        (list of `Row`, dict of reasons by the names of what is not compared).

    Raises:
        ValueError: an entry is missing or unknown.
    """
    found = computed(recording, dtype)
    skipped = not_compared(recording)
    check_names(recording, found, skipped)
    return rows(recording, found, skipped, dtype), skipped


# === What our networks compute ===


def computed(recording, dtype="float32"):
    """All that our networks compute of a recording, by its names and in its layout."""
    run = Run(recording, dtype)
    return run.evaluation() | run.trainings() | feature_augmentation(run) | augmentation(recording)


class Run(golden_runs.ModelRun):
    """A model that computes what a recording holds, always from its start."""

    def __init__(self, recording, dtype="float32"):
        from oasis_tf.systems.one_shot.build import build_model

        config = recordings.config_of(recording)
        super().__init__(recording, dtype, build_model, config, weights.load_official)
        self.image = self.input("image")
        self.mask = None
        if self.meta["classes"]:
            self.mask = self.cast(recordings.one_hot(recording["label"], self.meta["classes"]))

    # === Evaluation mode ===

    def evaluation(self):
        """Outputs and losses with u and v as they are stored."""
        self.restart()
        model, found = self.model, {}
        made = model.generator(self.cast(self.recording["z"][0]))
        found |= {f"G_eval/image{k}": nchw(x) for k, x in enumerate(made.images)}
        found |= {f"G_eval/feature{k}": nchw(x) for k, x in enumerate(made.features[:-1])}
        scales = model.scales(self.image)
        found |= {f"real_scale{k}": nchw(x) for k, x in enumerate(scales[:-1])}
        fakes = made.images[-model.blocks_d0 :]
        runs = {"real": ("Dreal", scales, self.mask, None)}
        if self.mask is None:
            runs["fake"] = ("Dfake", fakes, None, None)
        else:
            found["G_eval/mask"] = nchw(made.mask)
            uniform = 1 - nhwc(self.cast(self.recording["bernoulli_eval"]))
            runs["fake"] = ("Dfake", fakes, made.mask, uniform)
            runs["fake_argmax"] = ("Dfake_argmax", fakes, made.mask, None)
        for name, run in runs.items():
            found |= self._judged(name, *run, made)
        return found

    def _judged(self, name, loss, images, mask, uniform, made):
        """Logits, vectors and losses of one of the recorded passes of D."""
        model, found = self.model, {}
        real = name == "real"
        small = None
        if mask is not None:
            found[f"area_inverse_{name.removesuffix('_argmax')}"] = self._inverse_areas(mask)
            small = self._small(mask, uniform, real)
        features, _ = model.discriminator.low_level(images, small)
        vectors = np.asarray(model.discriminator.vectors(features, small))
        found[f"pooled_{name}"] = vectors.reshape(len(vectors), -1)
        logits = model.discriminator(images, object_mask=small)
        for branch, maps in logits._asdict().items():
            found |= {f"D_eval_{name}/{branch}{k}": nchw(x) for k, x in enumerate(maps)}
        areas = None if mask is None else self._inverse_areas(mask)
        found |= self._losses(loss, logits, "real" if real else "fake", areas if real else None)
        if not real:
            generator = loss.replace("Dfake", "G")
            found |= self._losses(generator, logits, "generator", areas)
            diversity = model._diversity(made, None, None)
            found[f"loss_eval/{generator}/weighted_DR"] = np.asarray(diversity)
        return found

    def _inverse_areas(self, mask):
        from oasis_tf.systems.one_shot import masks

        return np.asarray(masks.inverse_areas(mask))

    def _small(self, mask, uniform, real):
        from oasis_tf.systems.one_shot import masks

        scale = self.model.discriminator.scale
        if real:
            return masks.downsampled(mask, scale)
        return masks.small_hard_mask(mask, scale, uniform, warm=uniform is not None)

    def _losses(self, name, logits, of, areas):
        heads = self.model.head_losses(logits, of, areas)
        weighted = self.model.terms({"image": logits}, of, areas)
        found = {f"loss_eval/{name}/{k}": np.array(v) for k, v in heads.items()}
        return found | {
            f"loss_eval/{name}/weighted_{k}": np.asarray(v) for k, v in weighted.items()
        }

    # === Training ===

    def trainings(self):
        """The recorded runs: without and with feature augmentation, with and without warm-up."""
        found = self.training()
        found["history64"] = found["history"]
        found[f"EMA{self.meta['steps']}_sample"] = self.average_sample()
        if self.mask is not None:
            found |= prefixed("argmax_run", self.training(warm=False))
        return found | prefixed("fa_run", self.training(features=True))

    def average_sample(self):
        """The largest image of a training pass of the average as it is now."""
        z = self.cast(self.recording["z"][0])
        return nchw(self.model.generator_ema(z, training=True).images[-1])

    def training(self, warm=True, features=False, steps=None, compiled=True):
        """A run from the start.

        Args:
            warm: bool, whether hard masks are the recorded draws; else the largest.
            features: bool, whether features are augmented by the recorded decisions.
            steps: int; default: as many as recorded.
            compiled: bool, whether iterations run inside one ``tf.function``, as training does.

        Returns:
            dict by the recording's names: history, gradients of the first iteration, all weights.
        """
        self.restart()
        steps, history, found = steps or self.meta["steps"], [], {}
        iteration = self._compiled if compiled else self._iteration
        for step in range(steps):
            logs, gradients = iteration(self._draws(step, features), self._flag(warm))
            history.append([float(logs[name]) for name in HISTORY])
            for which, found_by_name in zip("GD", gradients if step == 0 else (), strict=False):
                found |= prefixed(f"grad{which}", _official(found_by_name))
        found["history"] = np.array(history)
        for which, name in _NETWORKS.items():
            state = weights.to_official(getattr(self.model, name))
            found |= prefixed(f"{which}{self.meta['steps']}", state)
        return found

    @functools.cached_property
    def _compiled(self):
        import tensorflow as tf

        return tf.function(self._iteration, autograph=False)

    def _iteration(self, draws, warm):
        """(losses by name, gradients of G and of D by our names)."""
        with _kept_gradients(self.model) as kept:
            logs = self.model.iteration(self.image, self.mask, draws, warm)
        return logs, kept

    def _flag(self, value):
        import tensorflow as tf

        return tf.constant(value)

    def _draws(self, step, features):
        """The recorded draws; without feature augmentation, decisions that change nothing."""
        from oasis_tf.systems.one_shot.draws import Draws

        latents = [self.cast(z) for z in self.recording["z"][1 + 2 * step : 3 + 2 * step]]
        found = {}
        if self.mask is not None:
            hard = self.cast(self.recording["bernoulli"][step])
            found = {"uniform_g": 1 - nhwc(hard[0]), "uniform_d": 1 - nhwc(hard[1])}
        return Draws(*latents, **found, **self._decisions(step, features))

    def _decisions(self, step, features):
        import tensorflow as tf

        recorded, mask = part(self.recording, "fa_run"), self.mask
        factor = 2**self.model.blocks_d0
        height, width = (side // factor for side in self.image.shape[1:3])
        small = None if mask is None else mask.numpy()[:, ::factor, ::factor]
        rows = recorded["layout_rect" if small is None else "layout_ops"][step]
        chosen = content_decisions(recorded, step)
        if not features:
            rows, chosen = rows[:0], type(chosen)(*(np.zeros_like(x) for x in chosen))
        source = recordings.sources(rows, (len(self.image), height, width), small)
        return {
            "content": type(chosen)(*map(tf.constant, chosen)),
            "layout": tf.constant(source),
        }


class _kept_gradients:
    """Has both optimizers note the gradients that they apply, by our weight names."""

    def __init__(self, model):
        self._optimizers = (model.generator_optimizer, model.discriminator_optimizer)

    def __enter__(self):
        kept = []
        for optimizer in self._optimizers:
            keep_gradients(optimizer, kept)
        return kept

    def __exit__(self, *_):
        for optimizer in self._optimizers:
            del optimizer.apply


def _official(gradients):
    gradients = {name: np.asarray(gradient) for name, gradient in gradients.items()}
    return {
        weights.official_name(name): weights.in_official_layout(name, gradients)
        for name in gradients
    }


def content_decisions(recorded, step=None):
    """Recorded ``ContentDecisions``, of a step if there are several."""
    from oasis_tf.systems.one_shot.feature_augmentation.content import ContentDecisions

    parts = (recorded["content_mix"], recorded["content_drop"])
    return ContentDecisions(*(np.asarray(x if step is None else x[step], bool) for x in parts))


# === Augmentation ===


def feature_augmentation(run):
    """Features of ``fa/`` with its decisions."""
    from oasis_tf.systems.one_shot.feature_augmentation import content, layout

    recorded, num_classes = part(run.recording, "fa"), run.meta["classes"]
    features = nhwc(recorded["layout_in"])
    batch, mask = len(features), None
    if num_classes:
        mask = recordings.one_hot(recorded["label"], num_classes)[:, ::2, ::2]
    chosen = recorded["layout_rect" if mask is None else "layout_ops"]
    vectors = content.apply(
        run.cast(recorded["content_in"])[:, None, None], content_decisions(recorded), batch
    )
    source = recordings.sources(chosen, features.shape[:3], mask)
    return {
        "fa/content_out": np.asarray(vectors)[:, 0, 0],
        "fa/layout_out": nchw(layout.apply(run.cast(features), source)),
    }


def augmentation(recording):
    """Images and masks of ``da/`` in all recorded cases, in float64."""
    import tensorflow as tf

    from oasis_tf.augmentation import reduced

    recorded, num_classes = part(recording, "da"), golden_files.meta(recording)["classes"]
    count = sum(name.startswith("in") for name in recorded)
    images = [tf.constant(nhwc(recorded[f"in{k}"]), tf.float64) for k in range(count)]
    mask = None
    if num_classes:
        mask = tf.constant(recordings.one_hot(recorded["label"], num_classes), tf.float64)
    found = {}
    for case in augmentation_cases(recording):
        draws = _reduced_draws(case, part(recorded, case), len(images[0]))
        changed, soft, _ = reduced.apply(draws, images, mask)
        found |= {f"da/{case}/out{k}": nchw(x) for k, x in enumerate(changed)}
        if soft is not None:
            found[f"da/{case}/mask_out"] = nchw(soft)
    return found


def augmentation_cases(recording):
    """Names of the recorded cases of reduced augmentation."""
    return dict.fromkeys(k.split("/")[1] for k in recording if re.match(r"da/\w+/out0$", k))


def _reduced_draws(case, recorded, batch):
    from oasis_tf.augmentation.reduced import ReducedDraws

    on = {
        name: case in (name_of_case, "all")
        for name, name_of_case in (
            ("zoom", "zoom"),
            ("crop", "crop"),
            ("flip", "flip"),
            ("shift_down", "vertical"),
            ("shift_right", "horizontal"),
        )
    }
    places = iter(np.split(recorded.get("crops_top_left_height_width", np.zeros((0, 4))), [batch]))
    shifts = iter(np.split(recorded.get("shift_margin_direction", np.zeros((0, 2))), [batch]))
    found = {}
    if on["zoom"]:
        found["zoom_top"], found["zoom_left"], *_ = next(places).T
    if on["crop"]:
        top, left, height, width = next(places).T
        found |= {"crop_top": top, "crop_left": left}
        found |= {"crop_height": height[0], "crop_width": width[0]}
    for name, share in (("shift_down", "down"), ("shift_right", "right")):
        if on[name]:
            margin, direction = next(shifts).T
            found[share] = margin * (2 * direction - 1)
    return ReducedDraws(**on, **found)


# === The comparison ===


# Names of what is not compared, and why.
_SKIPPED = {
    r"meta": "settings",
    r"[GD]0/.*|image|z|label|bernoulli|bernoulli_eval": "input",
    r"fa/(content_in|layout_in|label)|da/(in\d+|label)": "input",
    r"(.*/)?(content_mix|content_drop|layout_rect|layout_ops)": "decision, input",
    r"(.*/)?(crops_top_left_height_width|shift_margin_direction)": "decision, input",
}


def not_compared(recording):
    """Reasons by the names of the entries that are not compared."""
    reasons = golden_files.not_compared(recording, _SKIPPED)
    for name in recording:
        if _is_gradient(name) and _is_degenerate(recording, name):
            reasons.setdefault(name, "rounding error of a gradient that is zero")
    return reasons


def _is_gradient(name):
    return re.search(r"(^|/)grad[GD]/", name) is not None


def _is_degenerate(recording, name):
    """Whether an entry is a kernel with a single entry under spectral norm."""
    layer = re.sub(r"^(\w+/)*", "", name)
    start = recording.get(f"D0/{layer}", recording.get(f"G0/{layer}", np.zeros(2)))
    return layer.endswith("weight_orig") and start.size == 1


# Of these runs a recording may hold a part.
_PARTIAL = re.compile(r"(argmax_run|fa_run)/(grad[GD]|[GD]\d+|EMA\d+)/")


def check_names(recording, found, skipped):
    """Raises ValueError unless a recording has all that is computed, and nothing else."""
    golden_files.check_names(recording, found, skipped, _PARTIAL)


# (regular expression of names, how they are compared, tolerance), the first that fits.
_RULES = [
    (r"history64", "relative64", 1e-7),
    (r"(.*/)?history", "relative", 1e-5),
    (r"loss_eval/.*", "relative", 1e-5),
    (r"area_inverse_.*", "relative", 1e-5),
    (r"(.*/)?grad[GD]/.*", "share of the largest", 1e-4),
    (r"(.*/)?(G|D|EMA)\d+/.*", "weights", 2e-5),
    (r"fa/.*_out", "absolute", 0.0),
    (r".*", "absolute", 1e-5),
]


def rows(recording, found, skipped, dtype="float32"):
    """The rows of all that is compared.

    Args:
        recording, found: dicts of the same names.
        skipped: names that are not compared.
        dtype: that of ``found``.
    """
    groups = {}
    for name in recording:
        if name not in skipped and name in found:
            how, tolerance = next((h, t) for p, h, t in _RULES if re.fullmatch(p, name))
            groups.setdefault((_group(name), how, tolerance), []).append(name)
    lines = []
    for (group, how, tolerance), names in groups.items():
        if how == "weights":
            lines += _weight_rows(group, tolerance, names, recording, found)
            continue
        if how == "relative64" and dtype == "float32":
            tolerance = 1e-5
        errors = {name: _ERRORS[how](found[name], recording[name]) for name in names}
        lines.append(row_of(group, tolerance, errors))
    return lines


def _group(name):
    """The item that an entry belongs to."""
    if re.search(r"(grad[GD]|/?(G|D|EMA)\d+)/", name):
        return re.sub(r"((grad[GD]|(G|D|EMA)\d+))/.*", r"\1", name)
    return re.sub(r"\d+$", "", name) if not name.startswith("history") else name


_ERRORS = {
    "absolute": lambda got, want: largest(np.asarray(got, np.float64) - want),
    "relative": lambda got, want: relative(got, want),
    "relative64": lambda got, want: relative(got, want),
    "share of the largest": share_of_largest,
}


def _weight_rows(group, tolerance, names, recording, found):
    """Weights but for a thousandth; the worst of all; signs of kernels with a single entry."""
    meta = golden_files.meta(recording)
    signs = [name for name in names if _is_degenerate(recording, name)]
    names = [name for name in names if name not in signs]
    errors = {name: np.abs(found[name] - recording[name]).ravel() for name in names}
    every = np.sort(np.concatenate(list(errors.values())))
    most = every[len(every) - 1 - int(_SHARE * len(every))]
    # A step of Adam moves a weight by the learning rate, in a direction that may be chance.
    limit = 2 * meta["lr"] * meta["steps"]
    lines = [
        Row(f"{group}: all but 0.1 %", tolerance, float(most)),
        row_of(f"{group}: the worst", limit, {k: float(e.max()) for k, e in errors.items()}),
    ]
    if signs:
        wrong = {k: float(np.any(np.sign(found[k]) != np.sign(recording[k]))) for k in signs}
        lines.append(row_of(f"{group}: signs of single kernels", 0.0, wrong))
    return lines


# === The command ===

define_flags = golden_command.define_flags


def main(argv):
    """Compares, prints the table, and exits with 1 if a row fails."""
    del argv
    golden_command.run(recordings.load, compare)
