"""What `benchmarks.step` and `benchmarks.generate` share: flags, contenders, measurement."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import tempfile

import numpy as np
from absl import flags

from benchmarks import inputs, ours, pairing, processes, pytorch_contender, tables
from benchmarks.environment import as_text, environment, usable_cores
from oasis_tf.cli import runner
from oasis_tf.settings import path_flags

NONE = "none"
# What --scale varies -> the settings that take a value of --values.
SCALES = {
    "size": ("height", "width"),
    "num_classes": ("num_classes",),
    "batch": ("batch_size",),
    "width": ("channels",),
}
_STRIDES = {"step": 64, "generate": 32}  # sides must be multiples: of what D halves, G doubles


def _setting(help_text, default):
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is computed. Every field but ``task`` is a flag.

    Raises:
        ValueError: a number too small, or sides that the networks cannot halve.
    """

    task: str
    height: int = _setting("Height of images in pixels.", 256)
    width: int = _setting("Width of images in pixels.", 256)
    batch_size: int = _setting("Images in a batch.", 1)
    num_classes: int = _setting("Classes N; the data's are spread over them.", 151)
    channels: int = _setting("Unit of the widths of both networks.", 64)
    spade_channels: int = _setting("Hidden channels of every SPADE norm.", 128)
    noise_channels: int = _setting("Channels of the noise vector; 0: no noise.", 64)
    threads: int = _setting("Threads a contender computes with; 0: as many as cores.", 0)

    def __post_init__(self):
        for field in _flag_fields():
            least = {"noise_channels": 0, "threads": 0, "num_classes": 2}.get(field.name, 1)
            value = getattr(self, field.name)
            if value < least:
                raise ValueError(f"`{field.name}` must be at least {least}. Received: {value}.")
        stride = _STRIDES[self.task]
        if self.height % stride or self.width % stride:
            raise ValueError(
                f"`height` and `width` must be multiples of {stride}. Received: {self.height}, "
                f"{self.width}."
            )

    def message(self, path, has_unknown):
        """The setup that contenders get: dict for JSON."""
        values = dataclasses.asdict(self) | {"threads": self.threads or usable_cores()}
        return {**values, "has_unknown": has_unknown, "inputs": str(path)}


def _flag_fields():
    return [field for field in dataclasses.fields(Settings) if field.metadata]


# === Flags ===


def define_flags(flag_values, task, iterations):
    """Defines the flags of the command for a task, ``iterations`` a round by default."""
    where = {"flag_values": flag_values}
    for field in _flag_fields():
        flags.DEFINE_integer(field.name, field.default, field.metadata["help"], **where)
    flags.DEFINE_list(
        "ours", ["float32"], f"Our precisions: {', '.join(ours.PRECISIONS)}; or {NONE}.", **where
    )
    if task == "step":
        flags.DEFINE_boolean("jit_compile", False, "Compile our step with XLA.", **where)
        flags.DEFINE_boolean("remat", False, "We compute activations again for gradients.", **where)
        flags.DEFINE_boolean("chunk_logits", False, "We write out no map of logits.", **where)
    flags.DEFINE_multi_enum(
        "peer",
        ["eager"],
        [*pytorch_contender.MODES, NONE],
        "How plain PyTorch is run to compare with; repeatable.",
        **where,
    )
    _define_measurement(where, iterations)


def _define_measurement(where, iterations):
    counts = {
        "rounds": (5, "Rounds; every contender computes once in each."),
        "iterations": (iterations, "Iterations of a contender in a round."),
        "warmup": (2, "Iterations of a contender before the first round."),
        "batches": (4, "Different batches, taken in turns."),
    }
    for name, (default, text) in counts.items():
        flags.DEFINE_integer(name, default, text, lower_bound=1, **where)
    flags.DEFINE_float(
        "timeout", 1800, "Seconds that an answer of a contender may take.", lower_bound=1, **where
    )
    path_flags.define_path(
        "data_dir", None, "Prepared data set to take scenes from; default: drawn scenes.", **where
    )
    flags.DEFINE_string("split", "val", "Split of --data_dir.", **where)
    flags.DEFINE_enum("scale", None, list(SCALES), "Measure over --values of this.", **where)
    flags.DEFINE_list(
        "values", [], "Values of what --scale varies; size: side of squares.", **where
    )
    path_flags.define_path("plot", None, "Also plot what --scale found to this PNG file.", **where)
    path_flags.define_path("json", None, "Also write everything to this file.", **where)


def settings_of(task, args):
    """The settings to measure, by value of what is varied ({None: settings} if nothing is).

    Raises:
        ValueError: a flag's rule is broken.
    """
    given = {field.name: args[field.name].value for field in _flag_fields()}
    if not args["scale"].value:
        for name in ("values", "plot"):
            if args[name].value:
                raise ValueError(f"--{name} needs --scale={'|'.join(SCALES)}.")
        return {None: Settings(task, **given)}
    texts = args["values"].value
    if not texts or not all(text.isdecimal() for text in texts) or len(set(texts)) < len(texts):
        raise ValueError(
            "--scale needs different whole numbers, as in --values=64,128,256. Received: "
            f"--values={','.join(texts)}."
        )
    varied = SCALES[args["scale"].value]
    return {int(text): Settings(task, **given | dict.fromkeys(varied, int(text))) for text in texts}


def commands_of(args):
    """Command lines of the contenders by name, ours first.

    Raises:
        ValueError: unknown precisions, a contender named twice or none, or something is not
            installed.
    """
    switches = ("jit_compile", "remat", "chunk_logits")
    options = [f"--{name}" for name in switches if name in args and args[name].value]
    pairs = [_ours(name, options) for name in args["ours"].value if name != NONE]
    pairs += [_peer(mode) for mode in args["peer"].value if mode != NONE]
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        problem = f"twice: {', '.join(twice)}" if twice else "none"
        raise ValueError(
            f"--ours and --peer must name at least one contender, none of them twice. Received "
            f"{problem}."
        )
    return dict(pairs)


def _ours(precision, options):
    if precision not in ours.PRECISIONS:
        raise ValueError(
            f"--ours must list precisions: {', '.join(ours.PRECISIONS)}; or be {NONE}. Received: "
            f"{precision!r}."
        )
    module = [sys.executable, "-m", "benchmarks.ours"]
    return f"ours {precision}", [*module, f"--precision={precision}", *options]


def _peer(mode):
    pytorch_contender.check(mode)
    return mode, [sys.executable, "-m", "benchmarks.pytorch_contender", f"--mode={mode}"]


# === Measurement ===


def main(argv, task):
    """Measures what the flags ask for; prints tables, writes JSON and plot."""
    del argv
    # Contenders are ended in `finally` blocks, which the default action would pass over.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    args = flags.FLAGS
    variants, commands = settings_of(task, args), commands_of(args)
    tables.check_paths(args.json, args.plot)
    scenes = _scenes(args, variants.values())
    contents = {"benchmark": task, "environment": environment(), "scale": args.scale, "runs": []}
    print(as_text(contents["environment"]))
    for settings, found_scenes in zip(variants.values(), scenes, strict=True):
        found = _measured(args, settings, found_scenes, commands)
        print(f"\n{tables.title(settings, args.rounds, args.iterations)}\n{tables.table(found)}")
        contents["runs"].append(tables.as_json(settings, commands, found, args))
        if args.json:
            tables.write_json(contents, args.json)
    if args.plot:
        tables.plot(contents, list(variants), args.plot)


def _scenes(args, variants):
    """Scenes for every variant, read before anything is measured: no bad path stops it midway."""
    source = inputs.drawn
    if args.data_dir:
        source = functools.partial(inputs.prepared, args.data_dir, args.split)
    source = functools.cache(source)
    return [source(args.batches * s.batch_size, s.height, s.width) for s in variants]


def _measured(args, settings, scenes, commands):
    """dict from names to `pairing.Measurement`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = os.path.join(folder, "inputs.npz")
        sizes = (settings.batch_size, settings.num_classes, settings.noise_channels)
        np.savez(path, **inputs.arrays(scenes, *sizes))
        message = settings.message(path, scenes.has_unknown)
        contenders = [
            stack.enter_context(
                processes.Contender(name, command, args.timeout, message["threads"])
            )
            for name, command in commands.items()
        ]
        return pairing.measure(
            contenders,
            message,
            rounds=args.rounds,
            iterations=args.iterations,
            warmup=args.warmup,
            progress=lambda text: print(text, file=sys.stderr, flush=True),
        )


def run(task, iterations):
    """Runs the command of a task, as `runner.run` does."""
    runner.run(
        functools.partial(main, task=task),
        functools.partial(define_flags, task=task, iterations=iterations),
    )
