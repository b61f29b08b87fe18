"""Trains a list of flagfiles on one data set and evaluates all alike, of any system.

Every run has its own model directory and its own processes: `python -m oasis_tf.train`, then
`python -m oasis_tf.evaluate`. A repeated call continues where the previous one ended.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from absl import flags

from oasis_tf import systems
from oasis_tf.cli import flagfiles
from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.settings import setting_flags
from oasis_tf.settings.run_config import CONFIG_FILE, RunConfig
from oasis_tf.training.store import CheckpointStore

UNTRAINED = "untrained"


@dataclasses.dataclass(frozen=True)
class Run:
    """One row of the table.

    Attributes:
        name: name of the row: that of the flagfile without `.flags`.
        arguments: flags of the train command, including data set and model directory.
        model_dir: its model directory.
        config: what the flags resolve to.
        published: published scores in the heading of the flagfile, such as "FID 28.3, mIoU 48.8
            (table 1)"; None if there are none.
    """

    name: str
    arguments: tuple[str, ...]
    model_dir: str
    config: RunConfig
    published: str | None = None

    @property
    def steps(self):
        """Number of training steps."""
        return self.config.training.steps

    def is_trained(self):
        """Returns whether its last checkpoint exists."""
        return os.path.isdir(CheckpointStore(self.model_dir).path(self.steps))

    def is_measured(self, metrics):
        """Returns whether the evaluation file of its last step has all of `metrics`."""
        try:
            contents = evaluation_file.read(
                evaluation_file.default_path(self.model_dir, self.steps)
            )
        except (OSError, ValueError):
            return False
        return set(metrics) <= set(contents["protocols"])


def plan(variants, output_dir, flags_of_all=(), common=None, untrained=False, system=None):
    """Plans and checks the runs of an ablation.

    Args:
        variants: names of shipped ablations or paths of flagfiles, with or without `.flags`.
        output_dir: folder of their model directories.
        flags_of_all: dict from names of flags, such as "data_dir", to values for all runs whose
            system has them.
        common: flagfile whose flags override those of all variants, or None.
        untrained: whether to add a first row: the first variant after one step.
        system: name of the system of variants that name none; default: `systems.DEFAULT`.

    Returns:
        list of `Run`.

    Raises:
        ValueError, OSError: a flagfile does not exist, contradicts itself or the data set, or two
            have the same name. The error names the flagfile.
    """
    shared = flagfiles.expand_flagfiles([f"--flagfile={common}"]) if common else []
    system = system or systems.DEFAULT

    def run(name, arguments):
        return _run(name, arguments, dict(flags_of_all), output_dir, system)

    runs = []
    for variant in variants:
        path = _flagfile(variant)
        arguments = _overridden(flagfiles.expand_flagfiles([f"--flagfile={path}"]), shared)
        found = run(path.stem, arguments)
        runs.append(dataclasses.replace(found, published=published(path)))
    if untrained:
        first = _overridden(list(runs[0].arguments), ["--steps=1", "--checkpoint_every=1"])
        runs.insert(0, run(UNTRAINED, first))
    names = [run.name for run in runs]
    if not runs or len(set(names)) < len(names):
        raise ValueError(
            "Every variant must be given once, and all names must differ. Received: "
            f"{', '.join(names)}."
        )
    return runs


def _flagfile(variant):
    name = variant if variant.endswith(".flags") else f"{variant}.flags"
    return flagfiles.find_flagfile(name)


def published(path):
    """Returns the published scores in the heading of a flagfile with their table, or None."""
    scores, table = flagfiles.published_scores(Path(path))
    return f"{scores} ({table})" if scores and table else scores


def _overridden(arguments, by):
    """Returns the flags that `by` does not give, followed by `by`."""
    name = lambda argument: argument.lstrip("-").partition("=")[0]  # noqa: E731
    given = {name(argument) for argument in by}
    if given & {"steps", "epochs"}:
        given |= {"steps", "epochs"}
    return [argument for argument in arguments if name(argument) not in given] + list(by)


def _run(name, arguments, flags_of_all, output_dir, default):
    model_dir = os.path.join(output_dir, name)
    system = systems.get(_system(arguments) or default)
    known = {field.name for field in setting_flags.flag_fields(system.config)}
    of_all = {flag: value for flag, value in flags_of_all.items() if flag in known}
    of_all["model_dir"] = model_dir
    arguments = _overridden(arguments, [f"--{flag}={value}" for flag, value in of_all.items()])
    try:
        values = setting_flags.read_train_flags(system.config, arguments)
        given = setting_flags.given_flags(system.config, values, arguments)
        resolved = system.resolve(given, _previous(system, model_dir))
    except (ValueError, flags.Error) as error:
        raise ValueError(f"The variant {name} cannot be trained: {error}") from error
    return Run(name, tuple(arguments), model_dir, resolved)


def _system(arguments):
    """The last --system among flags, or None."""
    names = [a.partition("=")[2] for a in arguments if a.lstrip("-").startswith("system=")]
    return names[-1] if names else None


def _previous(system, model_dir):
    path = Path(model_dir) / CONFIG_FILE
    return system.config.load(model_dir) if path.exists() else None


def execute(runs, metrics_of, flags_of):
    """Trains and evaluates the runs that are not finished yet.

    Args:
        runs: list of `Run`.
        metrics_of: function of a run -> names as in --metrics of the evaluate command.
        flags_of: function of a run -> further flags of the evaluate command.

    Returns:
        names of the runs that failed; a failed run does not stop the others.
    """
    failed = []
    for number, run in enumerate(runs, start=1):
        print(f"[{number}/{len(runs)}] {run.name}", file=sys.stderr, flush=True)
        metrics = metrics_of(run)
        trained = run.is_trained() or _call("oasis_tf.train", *run.arguments)
        measured = trained and (
            run.is_measured(metrics)
            or _call(
                "oasis_tf.evaluate",
                f"--model_dir={run.model_dir}",
                f"--metrics={','.join(metrics)}",
                *flags_of(run),
            )
        )
        if not measured:
            failed.append(run.name)
    return failed


def _call(module, *arguments):
    """Runs a command with its output on standard error. Returns whether it succeeded."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0
