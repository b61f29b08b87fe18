"""Command: official checkpoints of SIV-GAN and OSMIS as model directories, and back.

    python -m oasis_tf.convert --system=one_shot --checkpoint=EPOCH_G_EMA.pth --model_dir=DIR
        [--generator=EPOCH_G.pth --discriminator=EPOCH_D.pth]
    python -m oasis_tf.convert --model_dir=DIR --to_official=FOLDER

With generator and discriminator the model can be trained further; Adam starts again, as its state
is not in official files. Reading and writing `.pth` files needs the extra `convert`.
"""

from oasis_tf.cli import common_flags
from oasis_tf.settings import setting_flags
from oasis_tf.systems.one_shot.config import Config

# What the weights tell, and what the release does not have.
_TOLD = ("num_blocks_g", "num_blocks_d", "num_blocks_d0", "ch_g", "ch_d", "noise_dim", "latent")


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`, the settings included."""
    setting_flags.define_setting_flags(Config, flag_values, without=_TOLD)
    common_flags.define_conversion_flags(
        flag_values,
        checkpoint="Official file of the averaged generator, EPOCH_G_EMA.pth.",
        generator="Official file of the generator itself, EPOCH_G.pth, to train further.",
        discriminator="Official file of the discriminator, EPOCH_D.pth, to train further.",
        to_official="Folder for the networks of --model_dir as official files.",
    )


def main(argv):
    """Checks everything, then writes."""
    del argv
    from oasis_tf.systems.one_shot.official import conversion

    common_flags.run_conversion(conversion, Config, _TOLD, _abilities)


def _abilities(config):
    further = " and be trained further" if config.model.has_discriminator else ""
    return f"The model can generate{further}."
