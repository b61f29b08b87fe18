"""The model that a run starts from (`--init_from`): what a new run takes from its configuration.

Nothing here needs TensorFlow.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from oasis_tf.data.classes import same_classes
from oasis_tf.settings.fields import as_text
from oasis_tf.systems.oasis.config import Config
from oasis_tf.training.store import CheckpointStore

# Settings that decide the form of weights, by network. The first chooses its kind.
_SETTINGS = {
    "generator": (
        *("generator", "upsampling"),
        *("generator_channels", "spade_channels", "generator_widths"),
    ),
    "discriminator": (
        *("discriminator", "label_encoding", "patch_layers"),
        *("discriminator_channels", "discriminator_widths"),
    ),
    "encoder": ("encoder", "latent_channels", "encoder_channels", "encoder_size"),
}
_MOST_NAMES = 12


@dataclasses.dataclass(frozen=True)
class SourceModel:
    """A checkpoint of another model.

    Attributes:
        path: its model directory.
        config: its configuration.
        step: step of the checkpoint.
    """

    path: str
    config: Config
    step: int

    @classmethod
    def find(cls, path: str, step: int | None = None) -> "SourceModel":
        """Finds a checkpoint, by default the newest whole one, and verifies it.

        Raises:
            ValueError, OSError: there is no model of OASIS, or no whole checkpoint.
        """
        try:
            config = Config.load(path)
            return cls(path, config, CheckpointStore(path).load(step)[0])
        except (ValueError, OSError) as error:
            raise type(error)(f"--init_from={path}: {error}") from error

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns settings of the networks for a new run that was given others or none."""
        model, settings = self.config.model, {}
        for network in self.networks(given.get("encoder", model.encoder)):
            names = _SETTINGS[network]
            if given.get(names[0], getattr(model, names[0])) == getattr(model, names[0]):
                settings |= {name: getattr(model, name) for name in names}
        # Without noise, 0 channels say so; the kind would overrule channels that were given.
        noise = {"noise_channels": model.noise_channels, "noise": model.noise}
        return settings | {name: v for name, v in noise.items() if v != "none"}

    def check(self, config: Config) -> None:
        """Raises ValueError if the networks of a run have weights of other forms; lists both."""
        networks = self.networks(config.model.encoder)
        new, old = (_forms(one, networks) for one in (config, self.config))
        problems = [
            f"{name}={as_text(new[name])} against {as_text(old[name])}"
            for name in old
            if new[name] != old[name]
        ]
        if problems:
            raise ValueError(
                "A run must have networks of the sizes of the model that it starts from (the run's "
                f"against those of --init_from={self.path}):\n  " + "\n  ".join(problems) + "\n"
                "Leave these flags out, or start from another model."
            )

    def sources(self, config: Config) -> list[int | None]:
        """Returns for each class of a run the model id of the same class here; None: it has none.

        With `init_classes=none` no class has one.
        """
        if config.training.init_classes == "none":
            return [None] * config.model.num_classes
        return same_classes(config.label_space, self.config.label_space)

    def report(self, config: Config) -> str:
        """Returns what a run takes from here, and what is drawn for it."""
        names = config.label_space.class_names
        carried, drawn = [], []
        for name, source in zip(names, self.sources(config), strict=True):
            (drawn if source is None else carried).append(name)
        encoder = config.model.encoder
        wanted = ["discriminator"] + ["encoder"] * (encoder != "none")
        missing = [f"the {one}" for one in wanted if one not in self.networks(encoder)]
        missing += [f"what belongs to {_counted(drawn)}"] if drawn else []
        return (
            f"Starting from step {self.step} of {self.path}. Carried over by name: "
            f"{_counted(carried)} of {len(names)}. Drawn: {', '.join(missing) or 'nothing'}."
        )

    def networks(self, encoder: str) -> list[str]:
        """Returns which networks a run with such an encoder takes from here."""
        both_encode = encoder != "none" and self.config.model.encoder != "none"
        discriminates = self.config.model.has_discriminator
        there = {"generator": True, "discriminator": discriminates, "encoder": both_encode}
        return [network for network, taken in there.items() if taken]


def _forms(config: Config, networks: list[str]) -> dict[str, Any]:
    """Returns by name what the forms of weights depend on, beside the classes."""
    model = config.model
    forms = {name: getattr(model, name) for network in networks for name in _SETTINGS[network]}
    if forms.get("label_encoding") == "balanced":
        forms["label_encoding"] = "n_plus_1"  # the same weights, another loss
    forms.pop("encoder", None)  # where latents go is a matter of the generator:
    forms["channels of noise and latent together"] = model.vector_channels
    crop = f"a latent, for {config.data.crop_height}x{config.data.crop_width}"
    forms["start of the generator"] = crop if model.encoder == "stem" else "label map"
    return forms


def _counted(names: list[str]) -> str:
    """Returns the number of classes with the first of their names."""
    shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    return f"{len(names)} class{'' if len(names) == 1 else 'es'}" + (f" ({shown})" if names else "")
