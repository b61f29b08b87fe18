"""Ablations of adaptations: which flags and metrics each variant gets, SIV-GAN among them."""

import pytest
from PIL import Image

from oasis_tf.ablations import runs
from oasis_tf.systems.few_shot.experiments import ablate_command


def test_variants_of_two_systems(adapted_dir, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k in range(3):  # of a size that SIV-GAN takes
        Image.new("RGB", (64, 64), (80 * k, 0, 0)).save(pictures / f"{k}.png")
    small = tmp_path / "small.flags"
    small.write_text("--steps=2\n--batch_size=4\n")
    given = {"data_dir": pictures, "source": adapted_dir}
    planned = runs.plan(
        ["few_shot_all", "few_shot_ours_1", "one_shot_pictures_1"],
        tmp_path / "runs",
        given,
        str(small),
        system="few_shot",
    )
    ours, one, siv_gan = planned
    assert [run.config.SYSTEM for run in planned] == ["few_shot", "few_shot", "one_shot"]
    assert ours.config.adaptation.source == adapted_dir
    assert (ours.config.model.size, ours.config.model.channels) == (32, (6, 6, 6, 4))
    assert ours.published.startswith("FID/intra-LPIPS Anime 116.4/.36, Shells 175.4/.43")
    assert (one.config.pictures.number, siv_gan.config.source.pictures) == (1, 1)
    assert not any("source=" in flag for flag in siv_gan.arguments)
    assert all(run.steps == 2 for run in planned)
    wanted = ["fid", "intra_lpips", "sample_diversity"]
    assert ablate_command.metrics(ours.config, wanted, "held_out") == wanted
    assert ablate_command.metrics(ours.config, wanted, None) == wanted[1:]
    assert ablate_command.metrics(siv_gan.config, wanted, "held_out") == wanted[2:]


def test_a_source_of_another_network_is_refused_by_the_name_of_the_variant(
    adapted_dir, few_pictures, tmp_path
):
    given = {"data_dir": few_pictures, "source": adapted_dir}
    with pytest.raises(
        ValueError, match=r"few_shot_biggan cannot be trained: .*\n  --network=biggan"
    ):
        runs.plan(["few_shot_biggan"], tmp_path / "runs", given, system="few_shot")


@pytest.mark.slow
def test_the_command_adapts_and_measures(adapted_dir, few_pictures, run_module, tmp_path):
    from tests.systems.few_shot.conftest import write_pictures

    write_pictures(tmp_path / "others", 3, seed=9)
    (tmp_path / "small.flags").write_text("--steps=1\n--ss_resolution=8\n--image_every=9\n")
    done = run_module(
        *("oasis_tf.ablate", "--system=few_shot", "--variants=few_shot_final"),
        *(f"--source={adapted_dir}", f"--data_dir={few_pictures}", "--held_out=others"),
        *("--output=runs", "--common=small.flags", "--metrics=fid,path_roughness"),
    )
    assert done.returncode == 0, done.stderr
    assert "| few_shot_final | " in done.stdout and "fid_seeded64 ↓" in done.stdout
    assert (tmp_path / "runs" / "ablations.md").read_text().strip() == done.stdout.strip()
