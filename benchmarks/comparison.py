"""What `benchmarks.step` and `benchmarks.generate` share: flags, contenders, measurement."""

import contextlib
import os
import signal
import sys
import tempfile

from absl import flags

from benchmarks import ours, pairing, processes, pytorch_contender, tables
from benchmarks.environment import as_text, environment
from benchmarks.settings import module_of, names
from oasis_tf.cli import system_runner
from oasis_tf.settings import path_flags

NONE = "none"


# === Flags ===


def define_flags(flag_values, task, iterations, system="oasis"):
    """Defines the flags of the command for a task, ``iterations`` a round by default."""
    where, speed = {"flag_values": flag_values}, module_of(system)
    for field in speed.Settings.flag_fields():
        flags.DEFINE_integer(field.name, field.default, field.metadata["help"], **where)
    flags.DEFINE_list(
        "ours", ["float32"], f"Our precisions: {', '.join(ours.PRECISIONS)}; or {NONE}.", **where
    )
    for name, text in speed.SWITCHES.items() if task == "step" else ():
        flags.DEFINE_boolean(name, False, text, **where)
    flags.DEFINE_multi_enum(
        "peer",
        ["eager"],
        [*pytorch_contender.MODES, NONE],
        "How plain PyTorch is run to compare with; repeatable.",
        **where,
    )
    speed.define_flags(where)
    _define_measurement(where, iterations, list(speed.Settings.SCALES))


def _define_measurement(where, iterations, scales):
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
    flags.DEFINE_enum("scale", None, scales, "Measure over --values of this.", **where)
    flags.DEFINE_list(
        "values", [], "Values of what --scale varies; size: side of squares.", **where
    )
    path_flags.define_path("plot", None, "Also plot what --scale found to this PNG file.", **where)
    path_flags.define_path("json", None, "Also write everything to this file.", **where)


def settings_of(task, args, system="oasis"):
    """The settings to measure, by value of what is varied ({None: settings} if nothing is).

    Raises:
        ValueError: a flag's rule is broken.
    """
    kind = module_of(system).Settings
    given = {field.name: args[field.name].value for field in kind.flag_fields()}
    if not args["scale"].value:
        for name in ("values", "plot"):
            if args[name].value:
                raise ValueError(f"--{name} needs --scale={'|'.join(kind.SCALES)}.")
        return {None: kind(task, **given)}
    texts = args["values"].value
    if not texts or not all(text.isdecimal() for text in texts) or len(set(texts)) < len(texts):
        raise ValueError(
            "--scale needs different whole numbers, as in --values=64,128,256. Received: "
            f"--values={','.join(texts)}."
        )
    varied = kind.SCALES[args["scale"].value]
    return {int(text): kind(task, **given | dict.fromkeys(varied, int(text))) for text in texts}


def commands_of(args, system="oasis"):
    """Command lines of the contenders by name, ours first.

    Raises:
        ValueError: unknown precisions, a contender named twice or none, or something is not
            installed.
    """
    switches = [name for name in module_of(system).SWITCHES if name in args and args[name].value]
    options = [f"--system={system}", *(f"--{name}" for name in switches)]
    pairs = [_ours(name, options) for name in args["ours"].value if name != NONE]
    pairs += [_peer(mode, system) for mode in args["peer"].value if mode != NONE]
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


def _peer(mode, system):
    pytorch_contender.check(mode)
    module = [sys.executable, "-m", "benchmarks.pytorch_contender"]
    return mode, [*module, f"--system={system}", f"--mode={mode}"]


# === Measurement ===


def main(argv, task, system="oasis"):
    """Measures what the flags ask for; prints tables, writes JSON and plot."""
    del argv
    # Contenders are ended in `finally` blocks, which the default action would pass over.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    args = flags.FLAGS
    variants, commands = settings_of(task, args, system), commands_of(args, system)
    tables.check_paths(args.json, args.plot)
    speed = module_of(system)
    # Read before anything is measured: no bad path stops it midway.
    scenes = speed.scenes(args, variants.values())
    contents = {"benchmark": task, "system": system, "environment": environment()}
    contents |= {"scale": args.scale, "runs": []}
    print(as_text(contents["environment"]))
    for settings, found_scenes in zip(variants.values(), scenes, strict=True):
        found = _measured(args, settings, found_scenes, commands, speed)
        print(f"\n{tables.title(settings, args.rounds, args.iterations)}\n{tables.table(found)}")
        contents["runs"].append(tables.as_json(settings, commands, found, args, speed))
        if args.json:
            tables.write_json(contents, args.json)
    if args.plot:
        tables.plot(contents, list(variants), args.plot)


def _measured(args, settings, scenes, commands, speed):
    """dict from names to `pairing.Measurement`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = os.path.join(folder, "inputs.npz")
        message = settings.message(path, **speed.write_inputs(path, settings, scenes))
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
    """Runs the command of a task, as `system_runner.run` does."""
    system_runner.run(
        lambda argv, system: main(argv, task, system.name),
        lambda system, flag_values: define_flags(flag_values, task, iterations, system.name),
        names(),
    )
