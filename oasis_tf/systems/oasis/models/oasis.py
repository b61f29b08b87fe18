"""OASIS: the parts of a model, and what it can be used for (ICLR 2021, sec. 3).

How it is trained is in ``iteration.py``, what Keras' methods do in ``keras_methods.py``.
"""

import types
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from oasis_tf.data.classes import class_ids
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.environment import check_backend
from oasis_tf.io.image_arrays import checked_images
from oasis_tf.layers import by_device
from oasis_tf.randomness import as_seeds, sample_seeds
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
from oasis_tf.systems.oasis.models.augmentation import Augmentation
from oasis_tf.systems.oasis.models.encoder import reparameterised
from oasis_tf.systems.oasis.models.iteration import (
    CONSISTENCIES,
    Iteration,
    joined_noise,
    to_float_image,
)
from oasis_tf.systems.oasis.models.iteration import METRICS as METRICS
from oasis_tf.systems.oasis.models.keras_methods import KerasMethods
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
class OASIS(KerasMethods, Iteration, keras.Model):
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
        label_space: ``LabelSpace``, the names, colours and raw ids of the classes; or None.
        ema_warmup: bool, default False, whether ``ema_decay`` grows to its value; see
            ``averages.warmed_up``.
        augmentation: ``Augmentation``, or a dict of its settings; default: none.

    ``train_step`` takes ``(image, label_map)``: photographs [B, H, W, 3] and int [B, H, W]; it
    works in ``fit`` and in the training loop of ``oasis_tf.training``.

    *Photographs* are integers of any width in 0...255, or floats in [-1, 1], wherever they are
    taken; anything else is refused.

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
        label_space=None,
        ema_warmup=False,
        augmentation=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if discriminator is not None and generator.num_classes != discriminator.num_classes:
            raise ValueError(
                "Generator and discriminator must have the same number of classes. Received: "
                f"{generator.num_classes} and {discriminator.num_classes}."
            )
        if label_space is not None and label_space.num_classes != generator.num_classes:
            raise ValueError(
                "`label_space` must have the classes of the networks. Received: "
                f"{label_space.num_classes} classes for networks of {generator.num_classes}."
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
        self.ema_warmup = ema_warmup
        self.seed = seed
        self.generator_ema = average_of(generator, "generator_ema")
        self.encoder_ema = encoder and average_of(encoder, "encoder_ema")
        self.step = self._counter("step", "int64")
        if not isinstance(augmentation, Augmentation):
            augmentation = Augmentation(**augmentation or {})
        self.augmentation, self.augmentation_p = augmentation, None
        if augmentation.adaptive:
            self.augmentation_p = self._counter("augmentation_p", "float32")
        self.label_space = label_space
        self.config = None  # set by `load`
        self.trained_size = None  # (height, width), set by `train_step`
        self._means = types.SimpleNamespace()  # set by `compile`
        self._engines = types.SimpleNamespace()  # made by `inference_engine`
        self._segmentation_engine = None  # made by `segmentation_engine`
        self.generator_optimizer = self.discriminator_optimizer = None  # set by `compile`
        # Keras would otherwise build the model on per-replica values in `fit`, and fail.
        self.built = True

    def _counter(self, name, dtype):
        """A scalar of the state of training, 0 in the beginning, the same on every replica."""
        return self.add_weight(
            name=name,
            shape=(),
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

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

    def class_ids(self, classes):
        """Model ids of classes: of names, or of ids, which are checked.

        Args:
            classes: a class name, a model id, or several.

        Returns:
            list of ints.

        Raises:
            ValueError: a name of no class (the message lists the nearest), an id outside 0..N-1.
        """
        return class_ids(classes, self.known_label_space())

    def known_label_space(self):
        """The ``label_space``; without one, numbered classes whose raw ids are the model ids."""
        if self.label_space is not None:
            return self.label_space
        return folder_label_space(self.num_classes, 0 if self.has_unknown else None)

    # === Files ===

    def save_model_dir(self, path, *, height=None, width=None):
        """Writes a model directory, which ``load`` and all commands take.

        Args:
            path: str, of a folder that does not exist or is empty; it is whole or not there.
            height, width: ints, size of the images that the model is for; default: of those it was
                trained on, otherwise 256.

        Raises:
            ValueError: parts that no configuration describes, sizes that do not divide.
            OSError: the folder is not empty, or cannot be written.
        """
        from oasis_tf.systems.oasis.saving import save_model_dir  # here: it builds this class

        save_model_dir(self, path, height, width)

    # === Use ===

    def generate(self, label_map, seed=0, noise=None, num_samples=None):
        """Images for label maps by the averaged generator, on its ``inference_engine``.

        Args:
            label_map: int [B, H, W] or [H, W] in model ids, sides divisible by 32.
            seed: int or [B]; for a single map ([H, W] or [1, H, W]) also a list of K seeds, which
                give K images. Each image depends only on its own seed. Unused if ``noise`` is
                given.
            noise: float [B, Z] (global) or [B, H, W, Z] (local); or ``editing.NoiseField`` (the
                same for all images), or a list of B of them. Default: sampled from ``seed``.
            num_samples: int K, images of every map, of the seeds ``seed``, ``seed + 1``, ...

        Returns:
            float32 array [B, H, W, 3] in [-1, 1]; [H, W, 3] for a single map [H, W]; with
            ``num_samples``, or several seeds for a single map, [B * K, H, W, 3], map by map.

        Raises:
            ValueError: sizes, class ids, seeds or noise that do not fit.
        """
        label_map = np.asarray(label_map)
        if noise is None:
            label_map, seed = _repeated(label_map, seed, num_samples)
        elif num_samples is not None:
            raise ValueError(
                "`num_samples` counts seeds, and `noise` takes their place. Give one of them. "
                f"Received: num_samples={num_samples} and noise."
            )
        if label_map.ndim == 2:
            return self.generate(label_map[None], seed, _noise_of_one(noise))[0]
        self._check_label_map(label_map)
        if noise is None:
            noise = self.sample_noise(seed, len(label_map))
        noise = batch_noise(noise, label_map.shape, self.generator.vector_channels)
        return self.inference_engine()(label_map, noise).numpy().astype(np.float32)

    def generate_images(self, labels, num_samples=1, seed=0, **options):
        """PIL images from label files, pictures or arrays, as the data set has them.

        Args:
            labels: one or a list of: path of a label file or a folder of them, PIL image, array of
                raw ids [H, W] or [B, H, W], array of colours uint8 [H, W, 3] or [B, H, W, 3]. The
                label space turns raw ids and colours into model ids, as ``synthesize`` does.
            num_samples: int K, images of each, of the seeds ``seed``, ``seed + 1``, ...
            seed: int, default 0; or a list of seeds, without ``num_samples``.
            size: "native" (default): images have the size of their label map; sides that do not
                divide are padded, and the images are cropped. "crop": resized to the training crop.
            height, width: ints, size to resize to instead.
            label_format: "auto" (default), "ids" or "colors", as ``--label_format``.

        Returns:
            list of ``PIL.Image.Image``, label map by label map.

        Raises:
            ValueError, OSError: files or values that are no label map of the model's classes.
        """
        from oasis_tf.systems.oasis.pictures import generate_images  # here: it stands on this room

        return generate_images(self, labels, num_samples, seed, **options)

    def read_label_map(self, labels, label_format="auto"):
        """A label file, picture or array as ``generate_images`` takes it: int [H, W] in model ids.

        Raises:
            ValueError, OSError: not a single label map of the model's classes.
        """
        from oasis_tf.systems.oasis.pictures import read_label_map

        return read_label_map(self, labels, label_format)

    def inference_engine(self, batching=None):
        """The ``InferenceEngine`` of the averaged generator, with its present weights.

        Args:
            batching: "image", whose bits depend on no other image of a batch, or "dense", all
                images at the same time; equal to rounding. Default: dense on a GPU, else image.

        TensorFlow variables do not tell when they change. So ``generate`` calls this every time,
        and never uses old weights. Folding takes some 30 ms at full width on two cores: a caller
        that generates many images with the same weights may call this once and keep the engine.
        """
        batching = by_device.batching(batching)
        engine = getattr(self._engines, batching, None)
        if engine is None:
            engine = InferenceEngine(self.generator_ema, batching=batching)
            setattr(self._engines, batching, engine)
        else:
            engine.refresh()
        return engine

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
            image: photographs [B, H, W, 3] or [H, W, 3] of any size.
            seed: int or [B], of the sample from the encoder's distribution, and of the 3D noise
                beside it.

        Returns:
            float32 [B, Z] or [Z].

        Raises:
            ValueError: the model has no encoder.
        """
        if self.encoder is None:
            raise missing_encoder("generate in the style of an image")
        image = checked_images(image)
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
            image: photographs [B, H, W, 3] or [H, W, 3], sides divisible by 64.

        Returns:
            int32 array [B, H, W] (or [H, W]) in model ids; never the unknown class.

        Raises:
            ValueError: the model has no discriminator, or one that does not segment; photographs of
                another range or size.
        """
        image = checked_images(image)
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
        """Logits [B, H, W, N + 1] of photographs [B, H, W, 3]; channel 0 is "fake".

        Within a graph the range of photographs is not checked.
        """
        self._need_segments("segment")
        if not (tf.is_symbolic_tensor(image) or isinstance(image, keras.KerasTensor)):
            image = checked_images(image)
        image = to_float_image(image, self.variable_dtype)
        return as_scales(self.discriminator(image, training=False))[0]

    def recreate(self, image, seed=0, noise=None, num_samples=None):
        """Images of the scenes in photographs: ``segment``, then ``generate``.

        Args:
            image: as in ``segment``.
            seed, noise, num_samples: as in ``generate``.

        Returns:
            float32 array as of ``generate``.

        Raises:
            ValueError: as ``segment`` and ``generate``.
        """
        return self.generate(self.segment(image), seed, noise, num_samples)

    def labelmix(self, image, label_map, seed=0):
        """LabelMix of images and generated ones: each class is all real or all generated.

        Args:
            image: photographs [B, H, W, 3] or [H, W, 3].
            label_map: int [B, H, W] or [H, W] in model ids, sides divisible by 32.
            seed: int or [B], of the noise and of one fair bit per class. Each image depends only
                on its own seed.

        Returns:
            ``LabelMix``; without the axis B for a single image.

        Raises:
            ValueError: images and label maps that do not fit, and as ``generate``.
        """
        image, label_map = checked_images(image), np.asarray(label_map)
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


def _repeated(label_map, seed, num_samples):
    """Label maps and seeds of all images, where there are several of a map."""
    seeds = sample_seeds(seed, num_samples)
    if seeds is None or label_map.ndim not in (2, 3):
        return label_map, seed
    if num_samples is None and label_map.ndim == 3 and len(label_map) != 1:
        return label_map, seed  # a seed for each map
    label_maps = label_map[None] if label_map.ndim == 2 else label_map
    return label_maps.repeat(len(seeds), axis=0), np.tile(seeds, len(label_maps))


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
