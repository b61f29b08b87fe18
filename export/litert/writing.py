"""The work of `export.tflite`: every file of a plan converted, described, measured, written."""

import contextlib
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from export.litert import conversion, examples, measurement, metadata
from export.litert.planning import report_path, sidecar
from oasis_tf import systems
from oasis_tf.io import files, json_files

_FAR = 2**31  # between the seeds of calibration and of measurement


def dataset_for(plan, config, data_dir):
    """The prepared data set to calibrate and measure with; None: there is none and need not be.

    A system without label maps needs none: its examples are seeds.

    Args:
        plan: `Plan`.
        config: configuration of the model.
        data_dir: folder that was asked for, or None for the one trained on.

    Raises:
        ValueError, FileNotFoundError: `data_dir` holds none, or not of the model's classes, or
            int8 has nothing to be calibrated with.
    """
    if not _of_label_maps(config):
        if data_dir:
            raise ValueError(
                "`data_dir` is for systems that generate from label maps. Received: "
                f"data_dir={data_dir} for a model of {config.SYSTEM}. Leave --data_dir out."
            )
        return None
    prepared = examples.dataset(data_dir or config.data.data_dir, config.label_space)
    if prepared is None and (data_dir or "int8" in plan.paths):
        raise FileNotFoundError(
            f"No prepared data set lies in {data_dir or config.data.data_dir or '(none named)'}. "
            "Name one of the model's classes, --data_dir=DIR; quantize=int8 takes the scales of "
            "activations from its training examples."
        )
    return prepared


def write(
    model, plan, prepared, *, representative_examples=100, report_examples=8, threads=2, seed=0
):
    """Writes the files of a plan, all of them whole or all absent, and prints what was measured.

    Args:
        model: a model with its `config`.
        plan: `Plan`.
        prepared: `PreparedDataset` or None, as from `dataset_for`.
        representative_examples: training examples that calibrate int8.
        report_examples: validation examples measured with (without a data set: label maps and
            images at random); 0 measures nothing.
        threads: of the LiteRT runtime.
        seed: the i-th example has noise of seed `seed` + i.

    Returns:
        rows of the table, the engine's first; empty if nothing is measured.
    """
    networks = systems.get(model.config.SYSTEM).ability("tflite")
    network = networks.network(model, plan.network, plan.height, plan.width)
    size = (plan.height, plan.width) if plan.height else networks.size(model.config)
    calibration = None
    if "int8" in plan.paths:
        found = _examples(model, network, prepared, "train", representative_examples, size, seed)
        calibration = [inputs for inputs, _ in found]
    reference = report_examples and _reference(
        model, network, prepared, report_examples, size, seed
    )
    rows = [reference.row()] if reference else []
    setting = _setting(model, plan, prepared, size, report_examples, threads, seed)
    with contextlib.ExitStack() as together:

        def aside(path):
            return together.enter_context(files.written_aside(path))

        for quantize, path in plan.paths.items():
            contents = conversion.convert(network, quantize, calibration)
            description = metadata.describe(model, plan.network, quantize, plan.height, plan.width)
            contents = metadata.embed(contents, description)
            if reference:
                rows.append({"file": quantize} | reference.measure(contents, threads))
                report = setting | {"engine": rows[0], "file": rows[-1]}
                Path(aside(report_path(path))).write_text(json_files.as_text(report, indent=1))
            Path(aside(sidecar(path))).write_text(json_files.as_text(description, indent=1))
            Path(aside(path)).write_bytes(contents)
    for path in plan.paths.values():
        print(f"Wrote {path}", flush=True)
    if rows:
        _print(plan, rows, setting)
    return rows


def _reference(model, network, prepared, count, size, seed):
    found = _examples(model, network, prepared, "val", count, size, seed)
    space = model.label_space if _of_label_maps(model.config) else None
    return measurement.Reference(network, found, space)


def _examples(model, network, prepared, split, count, size, seed):
    if not _of_label_maps(model.config):
        # Those measured with are not those that calibrate.
        return examples.of_seeds(network, count, seed + (_FAR if split == "train" else 0))
    if prepared is None:
        return examples.at_random(network, model.label_space, count, *size, seed)
    return examples.from_dataset(network, prepared, split, count, *size, seed)


def _of_label_maps(config):
    return "label_space" in config.FACTS


def _setting(model, plan, prepared, size, count, threads, seed):
    return {
        "format_version": metadata.FORMAT_VERSION,
        "network": plan.network,
        "measured_height": size[0],
        "measured_width": size[1],
        "examples": count,
        "examples_from": _origin(model.config, prepared),
        "seed": seed,
        "threads": threads,
        "machine": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "tensorflow": version("tensorflow"),
        "ai_edge_litert": version("ai-edge-litert") if count else None,
    }


def _origin(config, prepared):
    if prepared is not None:
        return prepared.data_dir
    return "random label maps" if _of_label_maps(config) else "seeds"


def _print(plan, rows, setting):
    print(
        f"{plan.network} at {setting['measured_height']}x{setting['measured_width']}, "
        f"{setting['examples']} examples from {setting['examples_from']}, "
        f"{setting['threads']} threads; errors against the engine"
    )
    print(measurement.table(rows))
    for quantize, row in zip(plan.paths, rows[1:], strict=True):
        for line in measurement.remarks(plan.network, quantize, row):
            print(line)
