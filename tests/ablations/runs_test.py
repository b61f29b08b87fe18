"""The runner of ablations: its plan, the metrics that it leaves out, its table."""

import json

import pytest

from oasis_tf.ablations import runs, table
from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.systems.oasis.experiments import ablate_command

TINY = """
--crop_height=64
--crop_width=64
--batch_size=2
--steps=2
--generator_channels=2
--discriminator_channels=2
--spade_channels=4
--noise_channels=4
--statistics_batches=1
"""
SCORED = (
    "# A. Paper: ICLR 2021, table F.\n# Expected score: FID 28.8, mIoU 48.1 as\n#   published.\n"
)


def plan(variants, data_dir, output_dir, *options, **named):
    """``runs.plan`` on one data set."""
    return runs.plan(variants, output_dir, {"data_dir": data_dir}, *options, **named)


@pytest.fixture(scope="module")
def data_dir(write_shapes):
    return write_shapes(4, 8)


@pytest.fixture
def flagfile(tmp_path):
    """function(name, text) -> path of a flagfile."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def common(flagfile):
    return flagfile("common.flags", TINY)


def test_common_flags_override_those_of_every_variant(flagfile, common, data_dir, tmp_path):
    one = flagfile("one.flags", SCORED + "--epochs=9\n--crop_height=256\n--lr_g=0.5\n")
    (run,) = plan([one], data_dir, tmp_path / "runs", common)
    assert (run.name, run.steps) == ("one", 2)
    assert run.config.data.crop_height == 64
    assert run.config.training.lr_g == 0.5
    assert run.model_dir == str(tmp_path / "runs" / "one")
    assert not [argument for argument in run.arguments if "epochs" in argument]


def test_the_suffix_may_be_left_out(flagfile, common, data_dir, tmp_path):
    path = flagfile("one.flags", "").removesuffix(".flags")
    assert plan([path], data_dir, tmp_path / "runs", common)[0].name == "one"


def test_published_scores_come_from_the_heading(flagfile):
    assert runs.published(flagfile("a.flags", SCORED)) == "FID 28.8, mIoU 48.1 (table F)"
    assert runs.published(flagfile("b.flags", "# Nothing.\n--steps=1\n")) is None


def test_an_untrained_row_is_the_first_variant_after_one_step(flagfile, common, data_dir, tmp_path):
    files = [flagfile(f"{name}.flags", f"--lr_g={rate}\n") for name, rate in (("a", 1), ("b", 2))]
    planned = plan(files, data_dir, tmp_path / "runs", common, untrained=True)
    assert [run.name for run in planned] == ["untrained", "a", "b"]
    assert [run.steps for run in planned] == [1, 2, 2]
    assert planned[0].config.training.lr_g == 1
    assert planned[0].model_dir == str(tmp_path / "runs" / "untrained")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--crop_height=100\n", "variant one cannot be trained: .*multiple of 64.*100"),
        ("--no_such_flag=1\n", "variant one cannot be trained: .*no_such_flag"),
    ],
)
def test_variants_that_cannot_be_trained_are_refused_by_name(
    flagfile, data_dir, tmp_path, text, message
):
    with pytest.raises(ValueError, match=message):
        plan([flagfile("one.flags", text)], data_dir, tmp_path / "runs")


def test_a_variant_may_be_given_once(flagfile, common, data_dir, tmp_path):
    one = flagfile("one.flags", "")
    with pytest.raises(ValueError, match="given once.*one, one"):
        plan([one, one], data_dir, tmp_path / "runs", common)


def test_metrics_that_do_not_apply_to_a_model_are_left_out(flagfile, common, data_dir, tmp_path):
    files = [
        flagfile("plain.flags", "--noise=none\n"),
        flagfile("patch.flags", "--discriminator=patch\n"),
    ]
    # The flags of `common` without its noise.
    small = flagfile("small.flags", TINY.replace("--noise_channels=4\n", ""))
    found = plan(files, data_dir, tmp_path / "runs", small)
    wanted = ["fid", "diversity", "segmentation"]
    plain, patch = (ablate_command.metrics(run.config, wanted) for run in found)
    assert plain == ["fid", "segmentation"]
    assert patch == ["fid", "diversity"]


def test_table(flagfile, common, data_dir, tmp_path):
    files = [flagfile("one.flags", SCORED), flagfile("two.flags", "")]
    planned = plan(files, data_dir, tmp_path / "runs", common)
    path = evaluation_file.default_path(planned[0].model_dir, 2)
    (tmp_path / "runs" / "one" / "evaluations").mkdir(parents=True)
    values = {
        "fid_seeded64": 2.345,
        "alignment_compact/miou": 0.5,
        "alignment_compact/miou_group_1": 0.9,
        "alignment_compact/miou_group_5": 0.25,
        "diversity/ms_ssim_3scales": None,
    }
    contents = {"format_version": 1, "model_dir": "m", "step": 2, "dataset": "shapes"}
    contents |= {"metrics": values, "protocols": {"fid": {}, "alignment": {}}}
    with open(path, "w") as file:
        json.dump(contents, file)
    assert planned[0].is_measured(["fid", "alignment"])
    assert not planned[0].is_measured(["fid", "diversity"])
    heading, one, two = table.rows(planned, ablate_command.COLUMNS)
    row = dict(zip(heading, one, strict=True))
    assert row[""] == "one"
    assert row["fid_seeded64 ↓"] in ("2.34", "2.35")  # as measured, under its own name
    assert (row["mIoU ↑"], row["rare mIoU ↑"]) == ("50.0", "25.0")
    assert (row["MS-SSIM ↓"], row["D's mIoU ↑"]) == ("–", "–")
    assert set(two[1:]) == {"–"}
    assert table.published(planned)[1:] == [["one", "FID 28.8, mIoU 48.1 (table F)"]]
    measured, apart = table.markdown(planned, ablate_command.COLUMNS).split("Published,")
    assert "28.8" not in measured and "28.8" in apart and "seeded" not in apart


@pytest.mark.slow
def test_the_command_trains_evaluates_continues_and_names_failed_runs(
    run_module, flagfile, common, data_dir, tmp_path
):
    files = [
        flagfile("patch.flags", "--discriminator=ms_patch\n--generator=spade\n--noise=none\n"),
        flagfile("bad.flags", "--lr_g=1e30\n--lr_d=1e30\n"),
    ]
    shallow = "--generator_widths=2,2,2,1\n--discriminator_widths=2,2\n--image_every=9\n"
    small = flagfile("small.flags", TINY.replace("--noise_channels=4\n", shallow))
    arguments = ["oasis_tf.ablate", f"--variants={','.join(files)}", f"--data_dir={data_dir}"]
    arguments += ["--output=runs", f"--common={small}", "--metrics=fid,diversity"]
    first = run_module(*arguments)
    assert first.returncode == 1
    assert "These runs failed: bad;" in first.stderr
    assert "not finite" in first.stderr or "nan" in first.stderr
    written = (tmp_path / "runs" / "ablations.md").read_text()
    assert written.strip() == first.stdout.strip()
    patch, bad = written.splitlines()[2:]
    assert patch.startswith("| patch | ")
    assert not patch.startswith("| patch | – ")
    assert bad.startswith("| bad | – ")
    again = run_module(*arguments)
    assert again.stdout == first.stdout
    assert "patch/checkpoints" not in again.stderr  # neither trained nor evaluated again
