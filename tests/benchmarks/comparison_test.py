"""The commands `benchmarks.step` and `benchmarks.generate`: flags, and the way from end to end."""

import shlex
import sys
from pathlib import Path

import pytest
from absl import flags

from benchmarks import comparison, pytorch_contender


def parsed(*arguments, task="step"):
    flag_values = flags.FlagValues()
    comparison.define_flags(flag_values, task, iterations=1)
    flag_values(["command", *arguments])
    return flag_values


def settings(*arguments, task="step"):
    return comparison.settings_of(task, parsed(*arguments, task=task))


def commands(*arguments, task="step"):
    return comparison.commands_of(parsed(*arguments, task=task))


def test_settings():
    found = settings("--height=128", "--threads=3")
    assert found == {None: comparison.Settings("step", height=128, threads=3)}
    message = found[None].message("x.npz", has_unknown=True)
    assert message == {
        "protocol": 1,
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
    assert comparison.Settings("step").message("", True)["threads"] >= 1


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
    assert found[128] == comparison.Settings("step", spade_channels=9, **changes)


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
    found = commands(
        "--ours=float32,bfloat16", "--jit_compile", "--peer=best", "--peer=mine = sh -c 'a  b'"
    )
    assert list(found) == ["ours float32", "ours bfloat16", "best", "mine"]
    assert found["ours bfloat16"][1:] == [
        *("-m", "benchmarks.ours", "--precision=bfloat16", "--jit_compile")
    ]
    assert found["best"][1:] == ["-m", "benchmarks.pytorch_contender", "--mode=best"]
    assert found["mine"] == ["sh", "-c", "a  b"]
    assert list(commands("--ours=none")) == ["eager"]
    assert list(commands("--peer=none")) == ["ours float32"]
    assert commands("--peer=none", task="generate")["ours float32"][-1] == "--precision=float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ours=float8"], "--ours must list precisions: float32, .* Received: 'float8'"),
        (["--ours=float32,float32"], "none of them twice. Received twice: ours float32."),
        (["--ours=none"], "at least one contender.* Received none."),
        (["--peer=fast"], "--peer must be one of eager, .* Received: 'fast'"),
        (["--peer=x="], "--peer must be one of"),
        (["--peer=x=no_such_program_"], "there is no program 'no_such_program_'"),
        (["--peer=x=sh 'a"], "the command line is not whole"),
    ],
)
def test_refuses_contenders(arguments, message):
    with pytest.raises(ValueError, match=message):
        commands(*([] if "--peer" in arguments[0] else ["--peer=none"]), *arguments)


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


@pytest.mark.slow
def test_step(report_of, script):
    """Ours beside a contender whose times are known."""
    printed, report = report_of("step", f"--peer=mine={shlex.join(script('answers', 8.0))}")
    run = report["runs"][0]
    ours, mine = run["contenders"]["ours float32"], run["contenders"]["mine"]
    assert mine["seconds"] == [8.0, 8.0]
    assert mine["facts"]["setup"]["num_classes"] == 14
    assert (mine["peak_bytes"], mine["peak_bytes_without_state"]) == (3 * 2**20, 2 * 2**20)
    assert len(ours["seconds"]) == 2 and min(ours["seconds"]) > 0
    assert ours["peak_bytes"] > ours["facts"]["state_bytes"] > 0
    ratio = next(r for r in run["ratios"] if r["to"] == "ours float32")
    ratios = [8 / seconds for seconds in ours["seconds"]]
    assert ratio["of"] == "mine"
    assert [ratio["low"], ratio["high"]] == pytest.approx([min(ratios), max(ratios)])
    assert ratio["median"] == pytest.approx(sum(ratios) / 2)
    assert report["environment"]["packages"]["keras"] in printed
    assert "Training iteration, 64×64, batch 1, 14 classes" in printed
    assert "mine / this (min–max)" in printed


@pytest.mark.slow
def test_generate_from_prepared_data(report_of, data_dir):
    options = ["--ours=bfloat16", "--peer=none", f"--data_dir={data_dir}"]
    printed, report = report_of("generate", *options, height=32, batch_size=2)
    run = report["runs"][0]
    assert list(run["contenders"]) == ["ours bfloat16"]
    assert run["ratios"] == []
    assert run["settings"]["data_dir"] == data_dir
    assert "Generating a batch, 32×64, batch 2, 14 classes" in printed


def test_scaling(run_module, script, tmp_path):
    """Over values, with a contender that needs no time of ours."""
    pytest.importorskip("matplotlib")
    flag = f"--peer=mine={shlex.join(script())}"
    options = ["--ours=none", flag, "--scale=num_classes", "--values=12,151", "--rounds=1"]
    sides = ["--height=64", "--width=64"]
    done = run_module("benchmarks.generate", *options, *sides, f"--plot={tmp_path / 'a.png'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index(" 12 classes") < done.stdout.index(" 151 classes")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_reports_a_contender_that_fails(run_module, script):
    flag = f"--peer=mine={shlex.join(script('dies'))}"
    done = run_module("benchmarks.step", "--ours=none", flag, "--height=64", "--width=64")
    assert done.returncode == 1
    assert "ERROR: Contender mine ended before it answered (exit code 3)" in done.stderr
    assert "out of luck" in done.stderr
    assert "Traceback" not in done.stderr


def test_reports_data_that_is_not_there(run_module, tmp_path):
    options = ["--peer=none", f"--data_dir={tmp_path}"]
    done = run_module("benchmarks.generate", *options)
    assert done.returncode == 1
    assert f"{tmp_path} is not a prepared data set" in done.stderr
    assert "starting" not in done.stderr


def test_contender_of_the_documentation(report_of, tmp_path):
    page = Path(comparison.__file__).parents[1] / "docs" / "benchmarks.md"
    example = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "mine.py").write_text(example)
    flag = f"--peer=mine={shlex.join([sys.executable, str(tmp_path / 'mine.py')])}"
    _, report = report_of("generate", "--ours=none", flag)
    mine = report["runs"][0]["contenders"]["mine"]
    assert mine["facts"]["state_bytes"] == 14 * 3 * 4
    assert mine["peak_bytes"] >= 0
