"""OASIS on this machine's GPU through Keras' JAX backend, beside plain PyTorch. No TensorFlow.

    python -m benchmarks.gpu --minutes=8 --json=gpu.json
    python -m benchmarks.gpu --peer=none --batches=1 --precisions=bfloat16 --labels=lookup

Compares a training iteration with the tests' golden file, then times iterations and generation: a
line per row as it is measured, one table in the end. Exits with 1 if the comparison fails. Without
a GPU it runs on the CPU. Sizes are the settings of `oasis_tf.train` (`--crop_height`, …).

It also trains, for minutes of a GPU on a machine without TensorFlow:

    python -m benchmarks.gpu --pack=DATA --output=arrays.npz --crop_height=128 --crop_width=256
    python -m benchmarks.gpu --train=arrays.npz --model_dir=MODEL --steps=20000 --minutes=9

The first needs TensorFlow, the second does not; every command takes MODEL. See docs/benchmarks.md.
"""

import contextlib
import dataclasses
import functools
import os
import statistics
import sys
import tempfile
import time

import numpy as np
from absl import flags

from benchmarks import inputs, jax_contender, parity_rows, processes, pytorch_contender, tables
from benchmarks.environment import as_text, environment, usable_cores, use_jax
from oasis_tf.cli import runner
from oasis_tf.io import output_paths
from oasis_tf.settings import path_flags, setting_flags
from oasis_tf.systems.oasis.config import Config

NONE = "none"
PRECISIONS = ("bfloat16", "tf32", "float32")
TASKS = ("step", "generate")
_PEERS = ("eager", "compiled", "bfloat16", "best")
_INPUT_BATCHES = 2  # different ones, taken in turns
_GIB = 2**30


# === Flags ===


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`."""
    where = {"flag_values": flag_values}
    setting_flags.define_setting_flags(Config, flag_values)
    flags.DEFINE_list("batches", ["1", "8", "32"], "Images in a batch, one row each.", **where)
    _define_choices("precisions", PRECISIONS, "float32 has full products, tf32 short ones.", where)
    _define_choices("labels", jax_contender.LABELS, "How labels enter dense modulation.", where)
    _define_choices("tasks", TASKS, "What is timed.", where)
    _define_choices("peer", _PEERS, "How plain PyTorch is run, where it is installed.", where)
    _define_choices(
        "parity", ("float32", "float64"), "Types to compare with the golden file in.", where, 1
    )
    flags.DEFINE_integer("num_classes", 151, "Classes N.", lower_bound=2, **where)
    flags.DEFINE_float("minutes", 10, "Time for everything.", lower_bound=0, **where)
    flags.DEFINE_integer("rounds", 5, "Rounds of a row; 0: compile alone.", lower_bound=0, **where)
    flags.DEFINE_float("round_seconds", 1, "How long a round should take.", lower_bound=0, **where)
    path_flags.define_path("json", None, "Also write everything to this file.", **where)
    path_flags.define_path("pack", None, "Prepared data set to pack into --output.", **where)
    path_flags.define_path("output", None, "The .npz file that --pack writes.", **where)
    path_flags.define_path("train", None, "Packed data to train on, into --model_dir.", **where)
    path_flags.define_path("model_dir", None, "New model directory of --train.", **where)


def _define_choices(name, choices, help_text, where, first=None):
    """A list of choices; by default all, or the ``first`` so many."""
    text = f"{help_text} A list of {', '.join(choices)}; or {NONE}."
    flags.DEFINE_list(name, list(choices[:first]), text, **where)
    flags.register_validator(
        name,
        lambda found: found == [NONE] or (set(found) <= set(choices)),
        f"must be a list of {', '.join(choices)}; or {NONE}",
        **where,
    )


def _chosen(args, name):
    return [value for value in args[name].value if value != NONE]


def main(argv):
    """Does what the flags ask for."""
    del argv
    args = flags.FLAGS
    given = setting_flags.given_flags(Config)
    for flag, companion in (("pack", "output"), ("train", "model_dir")):
        if bool(args[flag].value) != bool(args[companion].value):
            raise ValueError(f"--{flag} and --{companion} need each other. Received one of them.")
    if args.pack:
        _pack(args, given)
    elif args.train:
        _train(args, given)
    else:
        _measure(args, given)


def _pack(args, given):
    from benchmarks.oasis import packed_data

    output_paths.check_outputs([args.output], [])
    images = packed_data.pack(args.pack, args.output, given).images
    print(f"{args.output}: {len(images)} images of {images.shape[1]}x{images.shape[2]}")


def _train(args, given):
    from benchmarks.oasis import packed_data

    output_paths.check_new_folder(args.model_dir)
    data = packed_data.PackedData.load(args.train)
    config = data.config(given)
    use_jax()
    from benchmarks.oasis import jax_training

    show = functools.partial(print, flush=True)
    jax_training.train(data, config, args.model_dir, 60 * args.minutes, show)


# === Rows ===


@dataclasses.dataclass
class Row:
    """What is asked of a contender, and what came of it.

    Attributes:
        contender: str, ours with precision and labels, or the peer's mode.
        setup: dict that the contender gets.
        outcome: "measured", "compiled" (with no rounds), "out of memory", "no time" or "failed".
        seconds: list of float, of an iteration in every round.
        facts: dict, what the contender says of itself.
        peak_bytes: int, highest of all rounds, or None.
    """

    contender: str
    setup: dict
    outcome: str = "no time"
    seconds: list = dataclasses.field(default_factory=list)
    facts: dict = dataclasses.field(default_factory=dict)
    peak_bytes: int | None = None

    @property
    def key(self):
        return self.setup["task"], self.setup.get("batch_size")

    @property
    def median(self):
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def gib(self):
        """Of ours what XLA allots, of the peer's what PyTorch did, on the CPU all that is held."""
        found = self.facts.get("memory")
        found = found["total"] if isinstance(found, dict) else self.peak_bytes
        return found and found / _GIB


def groups(args, given, folder):
    """(name, command, rows) of every contender's process, in the order of their turns.

    Raises:
        ValueError: settings that nobody computes, or batches that are no numbers.
    """
    texts = args["batches"].value
    if not all(text.isdecimal() and int(text) for text in texts):
        raise ValueError(f"--batches must be numbers from 1 on. Received: {','.join(texts)}.")
    sizes = [
        {
            "settings": given,
            "num_classes": args["num_classes"].value,
            "batch_size": batch,
            "inputs": os.path.join(folder, f"{batch}.npz"),
        }
        for batch in map(int, texts)
    ]
    tasks = _chosen(args, "tasks")
    ours = [Row(f"parity {dtype}", {"task": "parity", "precision": dtype})
            for dtype in _chosen(args, "parity")]  # fmt: skip
    ours += [
        Row(f"ours {precision}, {labels}",
            size | {"task": task, "precision": precision, "labels": labels})
        for precision in _chosen(args, "precisions")
        for size in sizes
        for task in tasks
        for labels in _chosen(args, "labels")
    ]  # fmt: skip
    module = [sys.executable, "-m"]
    found = [("ours", [*module, "benchmarks.jax_contender"], ours)]
    for mode in _usable(_chosen(args, "peer")):
        rows = [Row(mode, size | {"task": task} | _of_peer(args, given, size))
                for size in sizes for task in tasks]  # fmt: skip
        found.append((mode, [*module, "benchmarks.pytorch_contender", f"--mode={mode}"], rows))
    return [group for group in found if group[2]]


def _usable(modes):
    """Those modes of the peer that this machine has what it takes for; says what the rest lacks."""
    for mode in modes:
        try:
            pytorch_contender.check(mode)
        except ValueError as error:
            print(f"Left out: {error}", file=sys.stderr)
        else:
            yield mode


def _of_peer(args, given, size):
    """What the peer's setup has beside ours."""
    config = jax_contender.new_config(size | {"precision": "float32"})
    model, widths = config.model, ("generator_widths", "discriminator_widths")
    if model.generator_channels != model.discriminator_channels or set(widths) & set(given):
        raise ValueError(
            "Plain PyTorch has the published widths, in one unit. Received: "
            f"generator_channels={model.generator_channels}, "
            f"discriminator_channels={model.discriminator_channels}, "
            f"{', '.join(f'{name}={getattr(model, name)}' for name in widths)}. Leave it out with "
            f"--peer={NONE}."
        )
    return {
        "channels": model.generator_channels,
        "spade_channels": model.spade_channels,
        "noise_channels": model.noise_channels,
        "has_unknown": False,
        "threads": usable_cores(),
        "device": "cuda",
    }


# === Measurement ===


def _measure(args, given):
    tables.check_paths(args.json, None)
    start = time.monotonic()
    deadline = start + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        planned = groups(args, given, folder)
        for setup in {row.key[1]: row.setup for _, _, rows in planned for row in rows}.values():
            if "inputs" in setup:
                _write_inputs(setup)
        report = Report(args.json, [row for *_, rows in planned for row in rows], given)
        while planned:
            name, command, rows = planned.pop(0)
            left = len(rows) + sum(len(later) for *_, later in planned)
            share = (deadline - time.monotonic()) * len(rows) / left
            _run_group(name, command, rows, time.monotonic() + share, args, report)
    print(f"\n{report.table()}\n{time.monotonic() - start:.0f} s in all")
    report.check()


def _write_inputs(setup):
    config = jax_contender.new_config(setup | {"precision": "float32"})
    batch, data = setup["batch_size"], config.data
    scenes = inputs.drawn(_INPUT_BATCHES * batch, data.crop_height, data.crop_width)
    sizes = batch, setup["num_classes"], config.model.noise_channels
    np.savez(setup["inputs"], **inputs.arrays(scenes, *sizes))


def _run_group(name, command, rows, deadline, args, report):
    """Measures the rows of one contender; it is started again after it has failed."""
    longest = 0
    with contextlib.ExitStack() as running:
        contender = None
        for row in rows:
            begun = time.monotonic()
            if begun + longest < deadline:
                try:
                    contender = contender or running.enter_context(
                        processes.Contender(name, command, args.minutes * 60, usable_cores())
                    )
                    _measure_row(contender, row, deadline, args)
                except processes.OutOfMemoryError:
                    row.outcome = "out of memory"
                except (ChildProcessError, TimeoutError) as error:
                    row.outcome = "no time" if isinstance(error, TimeoutError) else "failed"
                    print(error, file=sys.stderr)
                    running.close()
                    contender = None
                longest = max(longest, time.monotonic() - begun)
            report.add(row)


def _measure_row(contender, row, deadline, args):
    def in_time():
        contender.timeout = max(1, deadline - time.monotonic())
        return contender

    row.facts = in_time().setup(row.setup)
    row.outcome = "compiled"
    if row.setup["task"] == "parity" or not args.rounds:
        return
    in_time().run(1)  # allocations, and PyTorch's compilation
    count = max(1, int(args.round_seconds / in_time().run(1)[0]))
    for _ in range(args.rounds):
        seconds, peak = in_time().run(count)
        row.seconds.append(seconds / count)
        row.peak_bytes = max(row.peak_bytes or 0, peak)
    row.outcome = "measured"


# === Report ===


class Report:
    """Lines as rows are measured, JSON after each, a table of all.

    Args:
        path: of the JSON file, or None.
        rows: list of all rows.
        given: dict of the settings that were given.
    """

    _HEAD = ["task", "batch", "contender", "s median", "min–max", "images/s", "compile s",
             "GiB", "estimate"]  # fmt: skip

    def __init__(self, path, rows, given):
        self._path, self._rows, self._done = path, rows, 0
        self._contents = {"benchmark": "gpu", "environment": environment(), "settings": given}
        print(as_text(self._contents["environment"]))

    def add(self, row):
        """Prints a row that is done, and writes all of them."""
        self._done += 1
        if "rows" in row.facts:
            print(parity_rows.table(self._parity(row)), flush=True)
        else:
            line = "  ".join(filter(None, self._cells(row)))
            device = row.facts.get("device", "")
            print(f"{self._done}/{len(self._rows)}  {line}  {device}", flush=True)
        if self._path:
            rows = [vars(each) for each in self._rows]
            tables.write_json(self._contents | {"rows": rows}, self._path)

    def table(self):
        """All timed rows; the last columns say how many times as long the peer takes."""
        rows = [row for row in self._rows if row.setup["task"] != "parity"]
        peers = list(dict.fromkeys(row.contender for row in rows if "labels" not in row.setup))
        medians = {(*row.key, row.contender): row.median for row in rows}
        lines = [self._HEAD + [f"{peer} / this" for peer in peers]]
        for row in rows:
            ratios = [_ratio(medians.get((*row.key, peer)), row.median) for peer in peers]
            lines.append(self._cells(row) + ratios)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(f"{cell:{width}s}" for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def check(self):
        """Exits with 1 if a comparison with the golden file was asked for and did not succeed."""
        for row in self._rows:
            if row.setup["task"] != "parity":
                continue
            failed = [found.item for found in self._parity(row) if not found.ok]
            if failed or row.outcome != "compiled":
                sys.exit(f"{row.contender}: {', '.join(failed) or row.outcome}.")

    @staticmethod
    def _parity(row):
        return [parity_rows.Row(**found) for found in row.facts.get("rows", ())]

    @staticmethod
    def _cells(row):
        task, batch = row.key
        cells = [task, f"{batch or ''}", row.contender]
        if row.seconds:
            spread = f"{min(row.seconds):.4f}–{max(row.seconds):.4f}"
            cells += [f"{row.median:.4f}", spread, f"{batch / row.median:.1f}"]
        else:
            cells += [row.outcome, "", ""]
        compiling = row.facts.get("compile_seconds")
        estimate = row.facts.get("estimated_bytes")
        cells += ["" if compiling is None else f"{compiling:.0f}"]
        cells += ["" if row.gib is None else f"{row.gib:.2f}"]
        return cells + ["" if estimate is None else f"{estimate / _GIB:.2f}"]


def _ratio(peer, ours):
    return f"{peer / ours:.2f}" if peer and ours else ""


if __name__ == "__main__":
    runner.run(main, define_flags)
