"""OASIS: the parts of a model, and what it can be used for (ICLR 2021, sec. 3).

How it is trained is in ``iteration.py``.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from oasis_tf.environment import check_backend
from oasis_tf.randomness import as_seeds
from oasis_tf.systems.oasis import losses, noise
from oasis_tf.systems.oasis.editing.noise_fields import NoiseField, as_fields, batch_noise
from oasis_tf.systems.oasis.inference.generator_engine import InferenceEngine
from oasis_tf.systems.oasis.inference.segmentation_engine import SegmentationEngine, known_argmax
from oasis_tf.systems.oasis.model_settings import (
    missing_discriminator,
    missing_encoder,
    not_segmenting,
    with_implied,
)
from oasis_tf.systems.oasis.models.encoder import reparameterised
from oasis_tf.systems.oasis.models.iteration import (
    CONSISTENCIES,
    Iteration,
    joined_noise,
    to_float_image,
)
from oasis_tf.systems.oasis.models.iteration import METRICS as METRICS
from oasis_tf.systems.oasis.models.multi_scale import scales_of
from oasis_tf.systems.oasis.objectives import SegmentationObjective
from oasis_tf.systems.oasis.objectives.objective import as_scales
from oasis_tf.training.averages import average_of

check_backend()


class LabelMix(NamedTuple):
    """Real and generated images mixed by class, float32.

    Attributes:
        mixed: [B, H, W, 3] in [-1, 1].
        mask: [B, H, W, 1], 1 where ``mixed`` is real, 0 where it is generated.
        generated: [B, H, W, 3] in [-1, 1].
    """

    mixed: np.ndarray
    mask: np.ndarray
    generated: np.ndarray


@keras.saving.register_keras_serializable("oasis_tf")
class OASIS(Iteration, keras.Model):
    """Generator, discriminator, averaged generator and the training iteration that joins them.

    The parts may be those of OASIS, of SPADE or of any ablation between them.

    Args:
        generator: ``Generator``.
        discriminator: a discriminator of as many classes; None: the model can only generate.
        has_unknown: bool, whether model id 0 is the unknown label, whose pixels weigh nothing.
        lambda_labelmix: float >= 0, default 10. 0 leaves the consistency loss out.
        ema_decay: float in [0, 1), default 0.9999; 0: no average.
        seed: int, keys every random draw of training together with the step.
        objective: what D's logits mean (see ``objectives``); default: that of OASIS.
        encoder: ``Encoder``, whose latent are the last of the generator's ``vector_channels``; or
            None.
        noise: "image" (default), "region", "pixel" or "mix": what shares a noise vector in
            training.
        consistency: "labelmix" (default), "cutmix" or "none".
        labelmix_bits: "batch" (default) or "image": what shares the bits of LabelMix.
        lambda_feature_matching, lambda_vgg: float >= 0, default 0, weights of further losses of G.
        lambda_kld: float >= 0, default 0.05, weight of the encoder's KL divergence.
        perceptual_loss: function (fake, real) -> scalar, for ``lambda_vgg`` above 0.

    ``train_step`` takes ``(image, label_map)``: uint8 [B, H, W, 3] (or float in [-1, 1]) and int
    [B, H, W]; it works in ``fit`` and in the training loop of ``oasis_tf.training``.

    Raises:
        ValueError: parts that do not go together.
    """

    def __init__(
        self,
        generator,
        discriminator,
        has_unknown,
        lambda_labelmix=10.0,
        ema_decay=0.9999,
        seed=0,
        *,
        objective=None,
        encoder=None,
        noise="image",
        consistency="labelmix",
        labelmix_bits="batch",
        lambda_feature_matching=0.0,
        lambda_vgg=0.0,
        lambda_kld=0.05,
        perceptual_loss=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if discriminator is not None and generator.num_classes != discriminator.num_classes:
            raise ValueError(
                "Generator and discriminator must have the same number of classes. Received: "
                f"{generator.num_classes} and {discriminator.num_classes}."
            )
        if consistency not in CONSISTENCIES:
            raise ValueError(
                f"`consistency` must be one of {', '.join(CONSISTENCIES)}. Received: {consistency}."
            )
        self.generator = generator
        self.discriminator = discriminator
        self.encoder = encoder
        self.has_unknown = has_unknown
        self.objective = objective or SegmentationObjective(generator.num_classes, has_unknown)
        self.noise_kind = noise
        implied = with_implied({"consistency": consistency, "lambda_labelmix": lambda_labelmix})
        self.consistency = implied["consistency"]
        self.labelmix_bits = labelmix_bits
        self.lambda_labelmix = lambda_labelmix
        self.lambda_feature_matching = lambda_feature_matching
        self.lambda_vgg = lambda_vgg
        self.lambda_kld = lambda_kld
        self.perceptual_loss = perceptual_loss
        self.ema_decay = ema_decay
        self.seed = seed
        self.generator_ema = average_of(generator, "generator_ema")
        self.encoder_ema = encoder and average_of(encoder, "encoder_ema")
        self.step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.config = self.label_space = None  # set by `load`
        self._engine = None  # made by `inference_engine`
        self._segmentation_engine = None  # made by `segmentation_engine`
        self.generator_optimizer = self.discriminator_optimizer = None  # set by `compile`
        # Keras would otherwise build the model on per-replica values in `fit`, and fail.
        self.built = True

    @classmethod
    def load(cls, model_dir, checkpoint=None):
        """A trained model, its averaged generator with re-estimated batch statistics.

        Args:
            model_dir: str, a directory that ``oasis_tf.train`` or ``oasis_tf.convert`` wrote.
            checkpoint: int step, or "best" by the evaluations while training; default the newest
                whole one.

        Raises:
            ValueError, FileNotFoundError: not a model directory, no whole checkpoint.
        """
        from oasis_tf.systems.oasis.loading import load_model  # here: it builds this class

        return load_model(model_dir, checkpoint)

    # === Parts ===

    @property
    def num_classes(self):
        """int N, the unknown class included."""
        return self.generator.num_classes

    @property
    def latent_channels(self):
        """int: numbers in the encoder's latent, 0 without an encoder."""
        return self.encoder.latent_channels if self.encoder is not None else 0

    @property
    def num_scales(self):
        """int: scales that the discriminator sees images at."""
        return len(getattr(self.discriminator, "discriminators", [self.discriminator]))

    @property
    def segments(self):
        """bool: whether the discriminator tells the class of every pixel."""
        return self.discriminator is not None and self.objective.segments

    @property
    def generator_variables(self):
        """What the generator's optimizer trains: the generator and, with it, the encoder."""
        encoder = [] if self.encoder is None else self.encoder.trainable_variables
        return [*self.generator.trainable_variables, *encoder]

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        """Sets one optimizer per network; further arguments as in ``keras.Model.compile``."""
        self._need_discriminator("be trained")
        if self.lambda_vgg and self.perceptual_loss is None:
            raise ValueError(
                "Training with `lambda_vgg` needs a `perceptual_loss`. Received: "
                f"lambda_vgg={self.lambda_vgg}, perceptual_loss=None."
            )
        super().compile(optimizer=generator_optimizer, **kwargs)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)

    # === Use ===

    def generate(self, label_map, seed=0, noise=None):
        """Images for label maps by the averaged generator, on its ``inference_engine``.

        Args:
            label_map: int [B, H, W] or [H, W] in model ids, sides divisible by 32.
            seed: int or [B]. Each image depends only on its own seed. Unused if ``noise`` is given.
            noise: float [B, Z] (global) or [B, H, W, Z] (local); or ``editing.NoiseField`` (the
                same for all images), or a list of B of them. Default: sampled from ``seed``.

        Returns:
            float32 array [B, H, W, 3] in [-1, 1]; [H, W, 3] for a single map.

        Raises:
            ValueError: sizes, class ids, seeds or noise that do not fit.
        """
        label_map = np.asarray(label_map)
        if label_map.ndim == 2:
            return self.generate(label_map[None], seed, _noise_of_one(noise))[0]
        self._check_label_map(label_map)
        if noise is None:
            noise = self.sample_noise(seed, len(label_map))
        noise = batch_noise(noise, label_map.shape, self.generator.vector_channels)
        return self.inference_engine()(label_map, noise).numpy().astype(np.float32)

    def inference_engine(self):
        """The ``InferenceEngine`` of the averaged generator, with its present weights.

        TensorFlow variables do not tell when they change. So ``generate`` calls this every time,
        and never uses old weights. Folding takes some 30 ms at full width on two cores: a caller
        that generates many images with the same weights may call this once and keep the engine.
        """
        if self._engine is None:
            self._engine = InferenceEngine(self.generator_ema)
        else:
            self._engine.refresh()
        return self._engine

    def sample_noise(self, seed, batch):
        """Noise float32 [batch, Z] of seeds, an int or [batch], as in ``generate``; None if Z = 0.

        With an encoder, the last of the Z numbers are a latent, sampled like noise.
        """
        channels = self.generator.vector_channels
        if not channels:
            return None
        return noise.sample_noise(tf.constant(as_seeds(seed, batch)), channels)

    def encode(self, image, seed=0):
        """Noise with which ``generate`` gives images the style of others, by the encoder.

        Args:
            image: float [B, H, W, 3] or [H, W, 3] in [-1, 1] (or uint8), of any size.
            seed: int or [B], of the sample from the encoder's distribution, and of the 3D noise
                beside it.

        Returns:
            float32 [B, Z] or [Z].

        Raises:
            ValueError: the model has no encoder.
        """
        if self.encoder is None:
            raise missing_encoder("generate in the style of an image")
        image = np.asarray(image)
        if image.ndim == 3:
            return self.encode(image[None], seed)[0]
        drawn = self.sample_noise(seed, len(image))
        channels = drawn.shape[-1] - self.latent_channels
        distribution = self.encoder_ema(to_float_image(image, self.variable_dtype), training=False)
        latent = reparameterised(*distribution, tf.cast(drawn[:, channels:], self.variable_dtype))
        own = tf.cast(drawn[:, :channels], latent.dtype) if channels else None
        return joined_noise(own, latent).numpy().astype(np.float32)

    def segment(self, image):
        """Label maps of images by the discriminator: argmax over the known classes.

        Args:
            image: float [B, H, W, 3] or [H, W, 3] in [-1, 1] (or uint8), sides divisible by 64.

        Returns:
            int32 array [B, H, W] (or [H, W]) in model ids; never the unknown class.

        Raises:
            ValueError: the model has no discriminator, or one that does not segment.
        """
        image = np.asarray(image)
        if image.ndim == 3:
            return self.segment(image[None])[0]
        label_map, _ = self.segmentation_engine()(to_float_image(image, self.variable_dtype))
        return label_map.numpy()

    def segmentation_engine(self):
        """The ``SegmentationEngine`` of the discriminator; as ``inference_engine``.

        Raises:
            ValueError: the model has no discriminator, or one that does not segment.
        """
        self._need_segments("segment")
        if self._segmentation_engine is None:
            discriminator = scales_of(self.discriminator)[0]
            self._segmentation_engine = SegmentationEngine(discriminator, self.has_unknown)
        else:
            self._segmentation_engine.refresh()
        return self._segmentation_engine

    def class_logits(self, image):
        """Logits [B, H, W, N + 1] of images as in ``segment``; channel 0 is "fake"."""
        self._need_segments("segment")
        image = to_float_image(image, self.variable_dtype)
        return as_scales(self.discriminator(image, training=False))[0]

    def recreate(self, image, seed=0, noise=None):
        """Images of the scenes in photographs: ``segment``, then ``generate``.

        Args:
            image: as in ``segment``.
            seed, noise: as in ``generate``.

        Returns:
            float32 array [B, H, W, 3] in [-1, 1]; [H, W, 3] for a single image.

        Raises:
            ValueError: as ``segment`` and ``generate``.
        """
        return self.generate(self.segment(image), seed, noise)

    def labelmix(self, image, label_map, seed=0):
        """LabelMix of images and generated ones: each class is all real or all generated.

        Args:
            image: float [B, H, W, 3] or [H, W, 3] in [-1, 1] (or uint8).
            label_map: int [B, H, W] or [H, W] in model ids, sides divisible by 32.
            seed: int or [B], of the noise and of one fair bit per class. Each image depends only
                on its own seed.

        Returns:
            ``LabelMix``; without the axis B for a single image.

        Raises:
            ValueError: images and label maps that do not fit, and as ``generate``.
        """
        image, label_map = np.asarray(image), np.asarray(label_map)
        if image.shape != (*label_map.shape, 3):
            raise ValueError(
                "Images must be [B, H, W, 3] or [H, W, 3] like their label maps. "
                f"Received: {image.shape} and label maps {label_map.shape}."
            )
        if label_map.ndim == 2:
            return LabelMix(
                *(part[0] for part in self.labelmix(image[None], label_map[None], seed))
            )
        generated = self.generate(label_map, seed)
        seeds = as_seeds(seed, len(label_map))
        bits = [noise.labelmix_bits(one, 0, self.num_classes) for one in seeds]
        rows = zip(label_map, bits, strict=True)
        mask = np.stack([losses.labelmix_mask(*row).numpy() for row in rows])
        real = to_float_image(image, "float32").numpy()
        return LabelMix(losses.mix(mask, real, generated), mask, generated)

    def known_argmax(self, logits):
        """Most likely known class per pixel: logits [B, H, W, N+1] -> int32 [B, H, W] model ids."""
        return known_argmax(logits, first=int(self.has_unknown))

    def _need_discriminator(self, purpose):
        if self.discriminator is None:
            raise missing_discriminator(purpose)

    def _need_segments(self, purpose):
        self._need_discriminator(purpose)
        if not self.segments:
            raise not_segmenting(purpose)

    def _check_label_map(self, label_map):
        if label_map.ndim != 3 or label_map.dtype.kind not in "iu":
            raise ValueError(
                "`label_map` must be integers [B, H, W] or [H, W]. Received: "
                f"dtype={label_map.dtype}, shape={label_map.shape}."
            )
        low, high = (int(label_map.min()), int(label_map.max())) if label_map.size else (0, 0)
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"`label_map` must hold model ids 0..{self.num_classes - 1}. "
                f"Received: values from {low} to {high}."
            )

    # === Config ===

    def get_config(self):
        return {
            "name": self.name,
            "generator": keras.saving.serialize_keras_object(self.generator),
            "discriminator": self.discriminator
            and keras.saving.serialize_keras_object(self.discriminator),
            "has_unknown": self.has_unknown,
            "lambda_labelmix": self.lambda_labelmix,
            "ema_decay": self.ema_decay,
            "seed": self.seed,
            "objective": keras.saving.serialize_keras_object(self.objective),
            "encoder": self.encoder and keras.saving.serialize_keras_object(self.encoder),
            "noise": self.noise_kind,
            "consistency": self.consistency,
            "labelmix_bits": self.labelmix_bits,
            "lambda_feature_matching": self.lambda_feature_matching,
            "lambda_vgg": self.lambda_vgg,
            "lambda_kld": self.lambda_kld,
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: config[name] and keras.saving.deserialize_keras_object(config[name])
            for name in ("generator", "discriminator", "objective", "encoder")
        }
        return cls(**(config | parts))

    def call(self, label_map, noise=None, training=False):
        """The averaged generator's image, so that Keras can call the pair as one model."""
        inputs = (label_map,) if noise is None else (label_map, noise)
        return self.generator_ema(*inputs, training=False)


def _noise_of_one(noise):
    """Noise of a single label map as that of a batch of one."""
    if noise is None or isinstance(noise, NoiseField):
        return noise
    if fields := as_fields(noise):
        raise ValueError(
            "A single label map takes a single noise field; a list needs label maps [B, H, W]. "
            f"Received: a list of {len(fields)}."
        )
    return np.asarray(noise)[None]
