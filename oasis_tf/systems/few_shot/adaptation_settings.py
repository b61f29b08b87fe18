"""Settings of the adaptation of a source to a few pictures. Nothing here needs TensorFlow."""

import dataclasses

from oasis_tf.settings.fields import check_fields, setting

# Settings that ask for a source unless they have their default.
_OF_SOURCE = (
    "d_loss",
    "lambda_ss",
    "lambda_distance",
    "lambda_mixdl",
    "train_last_d",
    "probe_steps",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """Adaptation: the source, and what of it is kept.

    Raises:
        ValueError: a field is outside its limits, or the fields contradict each other.
    """

    source: str | None = setting(
        "Model to adapt: a model directory of this system, or a published checkpoint (.pt, .pkl; "
        "BigGAN: a folder with G.pth and D.pth). (default: none, training from new weights)",
        None,
        path=True,
    )
    source_weights: str = setting(
        "Weights of the source that the adaptation starts from and compares with: g, the trained "
        "ones, as CDC does; g_ema, their moving average.",
        "g",
        choices=("g", "g_ema"),
    )
    d_loss: str = setting(
        "What of the discriminator is asked: final, its last logit; patch, a map inside it except "
        "near anchors (CDC); all, a logit map after every block and the last logit.",
        "final",
        choices=("final", "patch", "all"),
    )
    lambda_ss: float = setting("Weight of smoothness similarity; 0: none.", 0.0, minimum=0)
    ss_resolution: int = setting(
        "Side of the features that smoothness similarity compares.", 32, minimum=4
    )
    ss_every: int = setting("Steps between smoothness similarities.", 1, minimum=1)
    ss_eps: float = setting(
        "Added under the root of the distance of gradients, whose derivative at 0 is else NaN.",
        1e-8,
        above=0,
    )
    ss_y_scale: str = setting(
        "Scale of the random direction in feature space: none, or resolution, 1 by the side.",
        "none",
        choices=("none", "resolution"),
    )
    ss_batch: int = setting(
        "Latents of smoothness similarity, over all devices; 0: the batch size.", 0, minimum=0
    )
    ss_noise: str = setting(
        "StyleGAN2: noise of both networks in smoothness similarity: the stored one, or one draw.",
        "stored",
        choices=("stored", "drawn"),
    )
    ss_mode: str = setting(
        "BigGAN: batch norm of both networks in smoothness similarity.",
        "eval",
        choices=("eval", "train"),
    )
    embedding_scale: str = setting(
        "BigGAN: Gaussian in place of the class embedding: standard, or with mean and deviation of "
        "the learned table.",
        "standard",
        choices=("standard", "table"),
    )
    anchors: int = setting(
        "Fixed latents near which the whole discriminator judges with --d_loss=patch; 0: one for "
        "each picture.",
        0,
        minimum=0,
    )
    anchor_every: int = setting("Steps between those near anchors.", 4, minimum=1)
    anchor_std: float = setting("Standard deviation around anchors.", 0.1, minimum=0)
    patch_heads: int = setting(
        "StyleGAN2: maps, of four, among which --d_loss=patch draws.", 1, minimum=1, below=5
    )
    lambda_distance: float = setting(
        "Weight of the distance consistency between samples (CDC); 0: none.", 0.0, minimum=0
    )
    lambda_mixdl: float = setting(
        "Weight of MixDL's loss of the generator's features; 0: neither this nor the next.",
        0.0,
        minimum=0,
    )
    lambda_mixdl_d: float = setting(
        "Weight of MixDL's loss of the discriminator's features.", 1.0, minimum=0
    )
    mixdl_every: int = setting("Steps between MixDL's losses.", 2, minimum=1)
    train_last_d: int = setting(
        "Last stages of the discriminator that are trained (FreezeD: 3); 0: all. The end is one, "
        "every block before it another.",
        0,
        minimum=0,
    )
    probe_steps: int = setting(
        "Steps of AdAM's probing, before which kernels are kept or trained; 0: no AdAM.",
        0,
        minimum=0,
    )
    fisher_batches: int = setting(
        "Last batches of the probing over which AdAM sums Fisher information.", 250, minimum=1
    )
    modulated_above: float = setting(
        "Percentage of filters, the least informative, that AdAM trains freely; the others are "
        "only modulated.",
        75.0,
        minimum=0,
        below=100,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_probing()
        if self.source is None:
            self._check_plain()

    def _check_probing(self) -> None:
        if self.probe_steps and self.train_last_d:
            raise ValueError(
                "`probe_steps` (AdAM) looks at the whole discriminator. Received: probe_steps="
                f"{self.probe_steps} with train_last_d={self.train_last_d}. Leave one out."
            )

    def _check_plain(self) -> None:
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        changed = [name for name in _OF_SOURCE if getattr(self, name) != defaults[name]]
        if changed:
            raise ValueError(
                f"`{changed[0]}` needs a model to adapt. Received: no `source`. Give "
                "--source=MODEL_DIR_OR_CHECKPOINT, or leave the setting out."
            )

    @property
    def projection_removed(self) -> bool:
        """Returns whether latents are Gaussian where the source had classes (BigGAN)."""
        return self.source is not None
