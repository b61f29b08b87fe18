"""Flagfiles by name, errors as one message, exit codes, help, TensorFlow only when needed."""

import importlib
import os
import re
import subprocess
import sys
import textwrap
import tomllib

import pytest
from absl import flags

import oasis_tf
from oasis_tf import train
from oasis_tf.cli import common_flags, flagfiles
from oasis_tf.data.datasets import published_label_space
from oasis_tf.systems.oasis import run_settings

SHIPPED = (
    "ade.flags, ade_outdoors.flags, ade_paper.flags, biggan.flags, cityscapes.flags, "
    "cityscapes_paper.flags, coco_stuff.flags, few_shot.flags, lvis.flags, one_shot.flags, "
    "one_shot_paper.flags, one_shot_quick.flags, one_shot_video.flags, osmis.flags, "
    "quickstart.flags, stylegan2.flags, ablations/NAME.flags (117 of them)"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# === Flagfiles ===


def test_shipped_configs_are_listed_by_name():
    names = list(flagfiles.shipped_configs())
    ablations = [name for name in names if name.startswith("ablations/")]
    listed = [name for name in names if name not in ablations]
    assert ", ".join([*listed, f"ablations/NAME.flags ({len(ablations)} of them)"]) == SHIPPED


def test_bare_names_are_found_in_the_working_directory_then_among_the_shipped(folder):
    shipped = flagfiles.find_flagfile("ade.flags")
    assert shipped == flagfiles.shipped_configs()["ade.flags"]
    (folder / "ade.flags").write_text("--mine=1\n")
    assert flagfiles.expand_flagfiles(["--flagfile=ade.flags"]) == ["--mine=1"]


def test_ablations_are_found_with_and_without_their_folder(folder):
    shipped = flagfiles.shipped_configs()["ablations/spade_plus_ade.flags"]
    assert flagfiles.find_flagfile("ablations/spade_plus_ade.flags") == shipped
    assert flagfiles.find_flagfile("spade_plus_ade.flags") == shipped
    expanded = flagfiles.expand_flagfiles(["--flagfile=spade_plus_ade.flags"])
    assert expanded[-1] == "--discriminator=ms_patch" and "--batch_size=32" in expanded


def test_unknown_names_raise_and_list_the_shipped_ones(folder):
    for name in ("adee.flags", "configs/adee.flags", "/adee.flags", "."):
        with pytest.raises(ValueError) as error:
            flagfiles.find_flagfile(name)
        assert f"`--flagfile={name}` is neither a file" in str(error.value)
        assert str(folder) in str(error.value)
        assert str(error.value).endswith(f"Shipped: {SHIPPED}.")


@pytest.mark.parametrize("form", [["--flagfile=a"], ["--flagfile", "a"], ["-flagfile=a"]])
def test_expansion_happens_in_place(folder, form):
    (folder / "a").write_text("# comment\n\n  // comment\n--x=1\n  --noy  \n--z=a b # c=d\n")
    expanded = flagfiles.expand_flagfiles(["--x=0", *form, "--x=2", "--", "--flagfile=a"])
    assert expanded == ["--x=0", "--x=1", "--noy", "--z=a b # c=d", "--x=2", "--", "--flagfile=a"]


def test_nested_names_are_found_beside_the_flagfile_then_as_on_the_command_line(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "a").write_text(
        "--flagfile=b\n--flagfile=c\n--flagfile=cityscapes_paper.flags\n"
    )
    (folder / "sub" / "b").write_text("--b=beside\n")
    (folder / "b").write_text("--b=working directory\n")
    (folder / "c").write_text("--c=working directory\n")
    expanded = flagfiles.expand_flagfiles(["--flagfile=sub/a"])
    assert expanded[:2] == ["--b=beside", "--c=working directory"]
    assert expanded[-2:] == ["--lr_g=1e-4", "--ema_decay=0.9999"]
    assert "--crop_width=512" in expanded


def test_a_shipped_flagfile_includes_the_shipped_one_whatever_lies_in_the_working_directory(folder):
    (folder / "ade.flags").write_text("--other=1\n")
    expanded = flagfiles.expand_flagfiles(["--flagfile=ade_paper.flags"])
    assert "--other=1" not in expanded and "--batch_size=32" in expanded


def test_circles_are_refused_repetitions_are_not(folder):
    (folder / "a").write_text("--flagfile=b\n")
    (folder / "b").write_text("--flagfile=a\n")
    with pytest.raises(ValueError, match="circle: .*/a -> .*/b -> .*/a"):
        flagfiles.expand_flagfiles(["--flagfile=a"])
    (folder / "b").write_text("--x=1\n")
    assert flagfiles.expand_flagfiles(["--flagfile=a", "--flagfile=a"]) == ["--x=1", "--x=1"]


@pytest.mark.parametrize("line", ["steps=3", "--steps 3", "steps", "--"])
def test_lines_that_are_not_flags_are_named(folder, line):
    (folder / "a").write_text(f"# first\n{line}\n")
    with pytest.raises(ValueError, match=f"/a, line 2: must be one `--name=value`.*'{line}'"):
        flagfiles.expand_flagfiles(["--flagfile=a"])


@pytest.mark.parametrize("arguments", [["--flagfile"], ["--flagfile="], ["--flagfile", ""]])
def test_flagfile_needs_a_name(arguments):
    with pytest.raises(ValueError, match="`--flagfile` needs a file name"):
        flagfiles.expand_flagfiles(arguments)


# === Checkpoints ===


@pytest.mark.parametrize(
    ("given", "taken"), [([], None), (["--checkpoint=best"], "best"), (["--checkpoint=0120"], 120)]
)
def test_a_checkpoint_is_a_step_or_the_best(given, taken):
    flag_values = flags.FlagValues()
    common_flags.define_checkpoint_flag(flag_values)
    flag_values(["", *given])
    assert common_flags.checkpoint(flag_values.checkpoint) == taken


@pytest.mark.parametrize("text", ["", "Best", "newest", "-3", "1.5", "1e3", "²", "+3", " 3"])
def test_other_checkpoints_are_refused(text):
    with pytest.raises(ValueError) as error:
        common_flags.checkpoint(text)
    assert str(error.value) == f"`checkpoint` must be a step or best. Received: checkpoint={text}."


# === Running ===

COMMAND = '''
"""Does as it is told.

    python -m command
"""
import sys
from absl import flags
from oasis_tf.cli import runner

def define_flags(flag_values):
    flags.DEFINE_enum("do", "nothing", ["nothing", "value", "os", "type", "interrupt", "tf",
        "infinite", "show"], "What to do.", flag_values=flag_values)
    flags.DEFINE_integer("count", None, "How often.", flag_values=flag_values, lower_bound=1)

def main(argv):
    do = flags.FLAGS.do
    assert len(argv) == 1
    if do == "value":
        raise ValueError("`count` must be even. Received: count=3.")
    if do == "os":
        open("absent/file")
    if do == "infinite":
        raise FloatingPointError("The loss of step 3 is not finite.")
    if do == "type":
        raise TypeError("a defect")
    if do == "interrupt":
        raise KeyboardInterrupt
    if do == "tf":
        import tensorflow as tf
        tf.io.read_file("absent").numpy()
    print("count", flags.FLAGS.count, "tensorflow" in sys.modules)

if __name__ == "__main__":
    runner.run(main, define_flags)
'''


@pytest.fixture
def command(run_module, tmp_path):
    (tmp_path / "command.py").write_text(textwrap.dedent(COMMAND).lstrip())
    return lambda *arguments: run_module("command", *arguments)


def test_success(command, tmp_path):
    (tmp_path / "few").write_text("--count=3\n")
    done = command("--flagfile=few")
    assert (done.returncode, done.stdout, done.stderr) == (0, "count 3 False\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--do=value"], "ERROR: `count` must be even. Received: count=3.\n"),
        (["--do=os"], "ERROR: [Errno 2] No such file or directory: 'absent/file'\n"),
        (["--do=infinite"], "ERROR: The loss of step 3 is not finite.\n"),
        (["--flagfile=x.flags"], f"Shipped: {SHIPPED}.\n"),
        (["--do=show", "false", "x"], "ERROR: Every argument must be a flag, "),
        (["--cuont=3"], "Unknown command line flag 'cuont'. Did you mean: count ?"),
        (["--count=0"], "--count=0"),
        (["--do=x"], "value should be one of <nothing|value|"),
    ],
)
def test_failure_is_one_clear_message_and_exit_code_1(command, arguments, message):
    done = command(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_show_traceback(command):
    done = command("--do=value", "--show_traceback")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and 'command.py", line' in done.stderr
    assert done.stderr.endswith("ERROR: `count` must be even. Received: count=3.\n")


def test_defects_keep_their_traceback(command):
    done = command("--do=type")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "TypeError: a defect" in done.stderr


def test_interrupt_exits_130(command):
    done = command("--do=interrupt")
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_errors_of_tensorflow_are_one_message_too(command):
    """And the only one: TensorFlow's libraries are quiet where there is no GPU."""
    done = command("--do=tf")
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ") and "absent; No such file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["--help", "--helpshort", "-?"])
def test_help_lists_all_flags_and_succeeds(command, flag):
    done = command(flag)
    assert done.returncode == 0
    for text in ("Does as it is told.", "--do:", "--count:", "--flagfile:", "--[no]show_traceback"):
        assert text in done.stdout
    assert "quickstart.flags" in done.stdout
    assert done.stderr == ""


def test_help_of_train_lists_every_flag_without_tensorflow(run_module):
    done = run_module("oasis_tf.train", "--help")
    assert done.returncode == 0 and done.stderr == ""
    flags = (
        "data_dir model_dir crop_height crop_width resize_height resize_width batch_size steps "
        "epochs generator_channels discriminator_channels noise_channels spade_channels "
        "generator_widths discriminator_widths mixed_precision strategy seed lr_g lr_d beta_1 "
        "beta_2 lambda_labelmix ema_decay log_every image_every checkpoint_every keep_every "
        "max_to_keep statistics_batches flagfile"
    )
    switches = ["--[no]flip:", "--[no]jit_compile:", "--[no]dry_run:"]
    for flag in [f"--{name}:" for name in flags.split()] + switches:
        assert f"  {flag}" in done.stdout, flag
    groups = re.findall(r"^(\S.*):$", done.stdout, re.MULTILINE)
    assert groups[0] == "Essential flags" and len(groups) > 6
    first, rest = done.stdout.split("Essential flags:")[1].split("Every command:")
    essential = re.findall(r"^  --(?:\[no\])?(\w+):", first, re.MULTILINE)
    assert essential == sorted(train.ESSENTIAL) and len(essential) == 10
    again = set(re.findall(r"^  --(?:\[no\])?(\w+):", rest, re.MULTILINE)) & set(essential)
    assert not again


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ERROR: `model_dir` must be given"),
        (["--model_dir=new"], "ERROR: `data_dir` must be given"),
        (["--dry_run"], "ERROR: `data_dir` must be given"),
        (["--steps=3", "--epochs=3"], "ERROR: Only one of --steps and --epochs may be given"),
    ],
)
def test_train_refuses_missing_directories_at_once(run_module, tmp_path, arguments, message):
    done = run_module("oasis_tf.train", *arguments)
    assert done.returncode == 1 and done.stderr.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_importing_is_cheap():
    """So is listing the public names."""
    code = (
        "import sys, oasis_tf, oasis_tf.cli.runner, oasis_tf.systems.oasis.config, oasis_tf.train;"
        "print({*oasis_tf.__all__, '__version__'} - {*dir(oasis_tf)}, 'OASIS' in dir(oasis_tf),"
        "[m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set() True []\n"


def test_unknown_attributes_of_the_package():
    with pytest.raises(AttributeError, match="module 'oasis_tf' has no attribute 'OASSI'"):
        _ = oasis_tf.OASSI


def test_train_refuses_flags_that_contradict_the_model_directory(run_module, tmp_path):
    prepared = run_module(
        "oasis_tf.prepare", "--dataset=shapes", "--num_train=8", "--num_val=2", "--output=data"
    )
    assert prepared.returncode == 0, prepared.stderr
    (tmp_path / "small.flags").write_text("--crop_height=64\n--crop_width=64\n--batch_size=4\n")
    started = run_settings.resolve(
        {"crop_height": 64, "crop_width": 64, "batch_size": 4, "data_dir": str(tmp_path / "data")},
        label_space=published_label_space("shapes"),
        num_examples=8,
    )
    started.save(tmp_path / "model")
    before = (tmp_path / "model" / "config.json").read_text()

    flags = ["--flagfile=small.flags", "--model_dir=model"]
    done = run_module("oasis_tf.train", *flags, "--batch_size=8", "--noflip", "--steps=9")
    assert done.returncode == 1 and done.stdout == ""
    assert "--batch_size=8 against 4" in done.stderr
    assert "--flip=false against true" in done.stderr
    assert "another --model_dir" in done.stderr
    assert "Traceback" not in done.stderr and "--steps" not in done.stderr
    assert os.listdir(tmp_path / "model") == ["config.json"]
    assert (tmp_path / "model" / "config.json").read_text() == before

    os.rename(tmp_path / "data", tmp_path / "moved")
    done = run_module("oasis_tf.train", "--model_dir=model")
    assert done.returncode == 1 and "data is not a prepared data set" in done.stderr
    assert done.stderr.endswith("If the data set has moved, give its new --data_dir.\n")


# === Beginning and end ===

LOUD = """
import os, sys
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are\\n")
os.write(2, b"I0000 00:00:1795761251.017488   11235 cudart_stub.cc:31] Could not find drivers\\n")
os.write(2, b"I0000 00:00:1795761251.753665 11235 cpu_feature_guard.cc:227] This TensorFlow\\n"
            b"To enable the following instructions: AVX2 FMA, rebuild TensorFlow\\n")
os.write(2, b"2026-11-27 06:34:50.1: W external/xla.cc:1] slow\\n")
os.write(2, b"E0000 00:00:1795761290.012145 11235 cuda_platform.cc:52] UNKNOWN ERROR (303)\\n")
os.write(2, b"E0000 00:00:1795761290.012145 11235 cuda_platform.cc:52] driver too old\\n")
print("a warning of Python", file=sys.stderr)
%s
class config:
    list_physical_devices = staticmethod(lambda: [])
"""
KEPT = "E0000 00:00:1795761290.012145 11235 cuda_platform.cc:52] driver too old\n"


def import_loud(tmp_path, action, level=None):
    """Imports a package `tensorflow` that logs as the real one does, and then acts."""
    (tmp_path / "tensorflow.py").write_text(LOUD % action)
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": level} if level else {}
    source = os.path.dirname(os.path.dirname(oasis_tf.__file__))
    code = (
        "import sys; import oasis_tf.cli.runner; import tensorflow; "
        "print('later', file=sys.stderr); import tensorflow"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
    )


def test_what_tensorflow_logs_while_it_is_loaded_is_left_out(tmp_path):
    """But not its errors, nor what others write."""
    done = import_loud(tmp_path, "")
    assert done.returncode == 0
    assert done.stderr == f"{KEPT}a warning of Python\nlater\n"


@pytest.mark.parametrize("action", ["raise ImportError('no AVX')", "os.abort()"])
def test_everything_is_shown_if_the_import_fails(tmp_path, action):
    done = import_loud(tmp_path, action)
    assert done.returncode != 0
    assert "cpu_feature_guard" in done.stderr and "UNKNOWN ERROR" in done.stderr
    assert ("no AVX" in done.stderr) == ("AVX" in action) and "later" not in done.stderr


def test_a_user_who_asks_for_log_messages_gets_them(tmp_path):
    done = import_loud(tmp_path, "", level="0")
    assert "cpu_feature_guard" in done.stderr and done.stderr.endswith("later\n")


ENDING = '''
import atexit, os, sys, threading, time, types
from absl import flags
from oasis_tf.cli import leaving, runner

class Lingering:
    """Takes long to give back, as what TensorFlow holds."""
    def __del__(self):
        os.write(1, b"lingered\\n")

def write_late():
    time.sleep(0.05)
    print("thread")

def main(argv):
    sys.modules["tensorflow"] = types.ModuleType("tensorflow")  # as if it were loaded
    sys.modules["tensorflow"].errors = types.SimpleNamespace(OpError=KeyError)
    sys.modules["tensorflow"].held = Lingering()
    atexit.register(print, "good-bye")
    threading.Thread(target=write_late).start()
    print("done", end="")  # not flushed
    %s

runner.run(main)
'''


@pytest.mark.parametrize(
    ("action", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(143)", 143, ""),
        ("sys.exit('why')", 1, "why\n"),
        ("raise TypeError('why')", 1, "TypeError: why\n"),
    ],
)
def test_a_command_leaves_at_once_and_loses_nothing(run_module, tmp_path, action, code, said):
    """Threads and functions registered with `atexit` end first; all is printed."""
    (tmp_path / "ending.py").write_text(ENDING % action)
    done = run_module("ending")
    assert (done.returncode, done.stdout) == (code, "donethread\ngood-bye\n")
    assert done.stderr.endswith(said) and bool(done.stderr) == bool(said)


def test_a_command_whose_workers_wait_ends_as_python_does(run_module, tmp_path):
    (tmp_path / "ending.py").write_text(ENDING % "leaving.tidily()")
    done = run_module("ending")
    assert (done.returncode, done.stdout) == (0, "donethread\ngood-bye\nlingered\n")


# === oasis-tf ===


def test_the_commands_are_listed_with_a_line_each(run_module):
    done = run_module("oasis_tf")
    assert done.returncode == 0 and done.stderr == ""
    for line in (
        "  train                  train a model, or continue the run of a model directory.\n",
        "  augment-segmentation   measure how much",
        "  export-savedmodel      write a model as a TensorFlow SavedModel.\n",
        "  export-serving-client  send label PNGs",
        "  oasis                  images from label maps",
    ):
        assert line in done.stdout


@pytest.mark.parametrize(
    ("name", "module", "flag", "code"),
    [
        ("train", "oasis_tf.train", "--cuont=3", 1),
        ("export_keras-file", "export.keras_file", "--help", 0),
    ],
)
def test_a_command_by_name_is_the_module(run_module, name, module, flag, code):
    by_name, by_module = run_module("oasis_tf", name, flag), run_module(module, flag)
    assert by_name.returncode == by_module.returncode == code
    assert (by_name.stdout, by_name.stderr) == (by_module.stdout, by_module.stderr)


def test_an_unknown_command_is_refused_by_name(run_module):
    done = run_module("oasis_tf", "trian", "--steps=3")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("ERROR: the first argument must be a command: ablate, ")
    assert done.stderr.endswith("Received: trian. Did you mean train?\n")


def test_the_script_is_that_function():
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "pyproject.toml"), "rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    module, _, function = scripts["oasis-tf"].partition(":")
    assert callable(getattr(importlib.import_module(module), function)) and len(scripts) == 1
