"""The commands `benchmarks.step` and `benchmarks.generate`: flags, and the way from end to end."""

import json
import signal

import numpy as np
import pytest
from absl import flags

from benchmarks import comparison, pytorch_contender
from benchmarks.few_shot import speed as few_shot
from benchmarks.oasis import speed
from benchmarks.one_shot import ours as one_shot_ours

SMALL = [
    *("--height=64", "--width=64", "--channels=2", "--spade_channels=4", "--noise_channels=4"),
    *("--rounds=2", "--iterations=1", "--warmup=1", "--batches=2"),
]


def parsed(*arguments, task="step", system="oasis"):
    flag_values = flags.FlagValues()
    comparison.define_flags(flag_values, task, iterations=1, system=system)
    flag_values(["command", *arguments])
    return flag_values


def settings(*arguments, task="step"):
    return comparison.settings_of(task, parsed(*arguments, task=task))


def commands(*arguments, task="step"):
    return comparison.commands_of(parsed(*arguments, task=task))


def test_settings():
    found = settings("--height=128", "--threads=3")
    assert found == {None: speed.Settings("step", height=128, threads=3)}
    message = found[None].message("x.npz", has_unknown=True)
    assert message == {
        "system": "oasis",
        "task": "step",
        "inputs": "x.npz",
        "height": 128,
        "width": 256,
        "batch_size": 1,
        "num_classes": 151,
        "has_unknown": True,
        "noise_channels": 64,
        "channels": 64,
        "spade_channels": 128,
        "threads": 3,
    }
    assert speed.Settings("step").message("")["threads"] >= 1


@pytest.mark.parametrize(
    ("scale", "changes"),
    [
        ("size", {"height": 128, "width": 128}),
        ("num_classes", {"num_classes": 128}),
        ("batch", {"batch_size": 128}),
        ("width", {"channels": 128}),
    ],
)
def test_scales(scale, changes):
    found = settings(f"--scale={scale}", "--values=64,128", "--spade_channels=9")
    assert list(found) == [64, 128]
    assert found[128] == speed.Settings("step", spade_channels=9, **changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--height=96"], "`height` and `width` must be multiples of 64. Received: 96, 256."),
        (["--num_classes=1"], "`num_classes` must be at least 2. Received: 1."),
        (["--channels=0"], "`channels` must be at least 1. Received: 0."),
        (["--values=1,2"], r"--values needs --scale=size\|num_classes\|batch\|width."),
        (["--plot=a.png"], "--plot needs --scale="),
        (["--scale=size"], "--scale needs different whole numbers.* Received: --values=."),
        (["--scale=size", "--values=64,64"], "Received: --values=64,64."),
        (["--scale=batch", "--values=1,-2"], "Received: --values=1,-2."),
        (["--scale=size", "--values=64,100"], "multiples of 64. Received: 100, 100."),
    ],
)
def test_refuses_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        settings(*arguments)


def test_sides_that_can_only_be_generated():
    assert settings("--height=96", task="generate")[None].height == 96
    with pytest.raises(ValueError, match="multiples of 32"):
        settings("--height=80", task="generate")


def test_contenders(monkeypatch):
    monkeypatch.setattr(pytorch_contender, "check", lambda mode: None)
    found = commands("--ours=float32,bfloat16", "--jit_compile", "--peer=best")
    assert list(found) == ["ours float32", "ours bfloat16", "best"]
    assert found["ours bfloat16"][1:] == [
        *("-m", "benchmarks.ours", "--precision=bfloat16", "--system=oasis", "--jit_compile")
    ]
    assert found["best"][1:] == [
        "-m",
        "benchmarks.pytorch_contender",
        "--system=oasis",
        "--mode=best",
    ]
    assert list(commands("--ours=none")) == ["eager"]
    assert list(commands("--peer=none")) == ["ours float32"]
    assert commands("--peer=none", task="generate")["ours float32"][-1] == "--system=oasis"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ours=float8"], "--ours must list precisions: float32, .* Received: 'float8'"),
        (["--ours=float32,float32"], "none of them twice. Received twice: ours float32."),
        (["--ours=none"], "at least one contender.* Received none."),
    ],
)
def test_refuses_contenders(arguments, message):
    with pytest.raises(ValueError, match=message):
        commands("--peer=none", *arguments)


def test_refuses_other_peers():
    with pytest.raises(flags.IllegalFlagValueError, match="should be one of <eager.*none>"):
        commands("--peer=fast")


def test_says_what_the_shipped_peer_lacks(monkeypatch):
    found = {"torch": object()}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found.get(name))
    monkeypatch.setenv("CXX", "no_such_compiler")
    pytorch_contender.check("bfloat16")
    with pytest.raises(ValueError, match=r"C\+\+ compiler.* Received: no_such_compiler.*CXX"):
        pytorch_contender.check("best")
    found.clear()
    with pytest.raises(ValueError, match=r'`--peer=eager` needs PyTorch: pip install "oasis-tf'):
        pytorch_contender.check("eager")


@pytest.fixture
def run_with(script, monkeypatch, tmp_path, capsys):
    """Function: runs a benchmark beside a contender that behaves as named; (printed, JSON)."""

    def run(task, behaviour, *arguments):
        monkeypatch.setattr(
            comparison, "_peer", lambda mode, system: (mode, script(behaviour, 8.0))
        )
        path = tmp_path / "report.json"
        values = parsed(*SMALL, *arguments, f"--json={path}", task=task)
        monkeypatch.setattr(flags, "FLAGS", values)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            comparison.main([], task)
        finally:
            signal.signal(signal.SIGTERM, handler)
        return capsys.readouterr().out, json.loads(path.read_text())

    return run


@pytest.mark.slow
def test_step(run_with):
    """Ours beside a contender whose times are known."""
    printed, report = run_with("step", "answers", "--num_classes=14")
    run = report["runs"][0]
    ours, eager = run["contenders"]["ours float32"], run["contenders"]["eager"]
    assert eager["seconds"] == [8.0, 8.0]
    assert eager["facts"]["setup"]["num_classes"] == 14
    assert (eager["peak_bytes"], eager["peak_bytes_without_state"]) == (3 * 2**20, 2 * 2**20)
    assert len(ours["seconds"]) == 2 and min(ours["seconds"]) > 0
    assert ours["peak_bytes"] > ours["facts"]["state_bytes"] > 0
    ratio = next(r for r in run["ratios"] if r["to"] == "ours float32")
    ratios = [8 / seconds for seconds in ours["seconds"]]
    assert ratio["of"] == "eager"
    assert [ratio["low"], ratio["high"]] == pytest.approx([min(ratios), max(ratios)])
    assert ratio["median"] == pytest.approx(sum(ratios) / 2)
    assert report["environment"]["packages"]["keras"] in printed
    assert "Training iteration, 64×64, batch 1, 14 classes" in printed
    assert "eager / this (min–max)" in printed


@pytest.mark.exhaustive
def test_generate_from_prepared_data(report_of, data_dir):
    options = ["--ours=bfloat16", "--peer=none", f"--data_dir={data_dir}"]
    printed, report = report_of("generate", *options, height=32, batch_size=2)
    run = report["runs"][0]
    assert list(run["contenders"]) == ["ours bfloat16"]
    assert run["ratios"] == []
    assert run["settings"]["data_dir"] == data_dir
    assert "Generating a batch, 32×64, batch 2, 14 classes" in printed


def test_scaling(run_with, tmp_path):
    """Over values, with a contender that needs no time of ours."""
    pytest.importorskip("matplotlib")
    options = ["--ours=none", "--scale=num_classes", "--values=12,151"]
    printed, report = run_with("generate", "answers", *options, f"--plot={tmp_path / 'a.png'}")
    assert printed.index(" 12 classes") < printed.index(" 151 classes")
    assert [run["settings"]["num_classes"] for run in report["runs"]] == [12, 151]
    assert (tmp_path / "a.png").stat().st_size > 0


def test_reports_a_contender_that_fails(run_with):
    message = r"(?s)Contender eager ended before it answered \(exit code 3\).*out of luck"
    with pytest.raises(ChildProcessError, match=message):
        run_with("step", "dies", "--ours=none")


def test_reports_data_that_is_not_there(run_module, tmp_path):
    options = ["--peer=none", f"--data_dir={tmp_path}"]
    done = run_module("benchmarks.generate", *options)
    assert done.returncode == 1
    assert f"{tmp_path} is not a prepared data set" in done.stderr
    assert "starting" not in done.stderr


def test_sides_of_one_shot():
    found = comparison.settings_of("step", parsed(system="one_shot"), "one_shot")[None]
    assert (found.height, found.width, found.batch_size) == (192, 320, 5)
    assert (found.sizes.blocks_g, found.sizes.blocks_d, found.sizes.blocks_d0) == (7, 7, 3)
    values = parsed("--height=100", "--width=150", system="one_shot")
    with pytest.raises(ValueError, match="Received: 100, 150; nearest are 96, 160"):
        comparison.settings_of("step", values, "one_shot")


def test_one_image_of_one_shot_is_generated(tmp_path):
    sides = ("--height=64", "--width=64")
    values = parsed("--batch_size=1", *sides, task="generate", system="one_shot")
    chosen = comparison.settings_of("generate", values, "one_shot")[None]
    sizes = {"blocks_g": 5, "blocks_d": 6, "blocks_d0": 2}
    setup = chosen.message(tmp_path / "inputs.npz", **sizes)
    picture = np.zeros((64, 64, 3), np.uint8)
    one = one_shot_ours.new_config(setup, picture, str(tmp_path / "a.png"), "float32")
    assert one.training.batch_size == 1
    with pytest.raises(ValueError, match="compares images of one batch"):
        one_shot_ours.new_config(
            setup | {"task": "step"}, picture, str(tmp_path / "a.png"), "float32"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width=128"], "the same power of two from 8 on. Received: 256, 128."),
        (
            ["--smoothness=12"],
            "`smoothness` must be a power of two from 4 to 256, or 0. Received: 12.",
        ),
        (["--all_blocks=-1"], "`all_blocks` must be at least 0. Received: -1."),
    ],
)
def test_refuses_settings_of_few_shot(arguments, message):
    values = parsed(*arguments, system="few_shot")
    with pytest.raises(ValueError, match=message):
        comparison.settings_of("step", values, "few_shot")


def test_published_widths():
    assert few_shot.Settings("step").widths == [512, 512, 512, 512, 512, 256, 128]
