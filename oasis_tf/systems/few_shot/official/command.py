"""Command: StyleGAN2 and BigGAN checkpoints of other releases as model directories, and back.

    python -m oasis_tf.convert --system=few_shot --checkpoint=FILE --model_dir=DIR
        [--generator=FILE] [--discriminator=FILE]
    python -m oasis_tf.convert --model_dir=DIR --to_official=FOLDER

StyleGAN2 comes from files of rosinality/stylegan2-pytorch (.pt, also those of CDC) and of NVlabs'
stylegan2-ada-pytorch (.pkl), and goes to the former. BigGAN comes from and goes to files of
BigGAN-PyTorch (G_ema.pth, G.pth, D.pth). Files are read without PyTorch, and nothing in them is
run. Writing needs PyTorch, the extra `convert`. With a discriminator the model can be trained
further and adapted; Adam starts again.
"""

from oasis_tf.cli import common_flags
from oasis_tf.settings import setting_flags
from oasis_tf.systems.few_shot.config import Config

# What the weights tell, and what a converted model was not adapted from.
_TOLD = (
    "source",
    *("network", "size", "channels", "channel_multiplier", "style_dim", "num_mlp"),
    *("ch", "dim_z", "shared_dim", "attention", "attention_d", "standing_statistics"),
)


def define_flags(flag_values):
    """Defines the flags of this command on `flag_values`, the settings included."""
    setting_flags.define_setting_flags(Config, flag_values, without=_TOLD)
    common_flags.define_conversion_flags(
        flag_values,
        checkpoint="File with all networks (.pt, .pkl), or G_ema.pth, or a folder with it.",
        generator="File of the generator itself, if --checkpoint holds its average alone.",
        discriminator="File of the discriminator, if --checkpoint holds none.",
        to_official="Folder for the networks of --model_dir as files of other releases.",
    )


def main(argv):
    """Checks everything, then writes."""
    del argv
    from oasis_tf.systems.few_shot.official import conversion

    common_flags.run_conversion(conversion, Config, _TOLD, _abilities)


def _abilities(config):
    if config.model.has_discriminator:
        return "The model can generate, be trained further, and be adapted."
    return (
        "The model can generate. Without a discriminator it can neither be trained further nor "
        "adapted."
    )
