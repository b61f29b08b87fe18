"""Keras' own methods of ``OASIS``: what they do with a pair of networks instead of one."""

import dataclasses
import types

import keras
import numpy as np
import tensorflow as tf

from oasis_tf.io.image_arrays import checked_images
from oasis_tf.systems.oasis import noise as draws
from oasis_tf.systems.oasis.models.iteration import checked_batch, to_float_image
from oasis_tf.systems.oasis.models.keras_data import CheckedData
from oasis_tf.systems.oasis.models.named_classes import as_json, from_json


class KerasMethods:
    """``fit``, ``evaluate``, ``predict``, calls and ``.keras`` files of ``OASIS``.

    Data are batches ``(image, label_map)``, photographs as in ``OASIS.segment``.
    """

    # === Compilation ===

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        """Sets one optimizer per network; further arguments as in ``keras.Model.compile``."""
        self._need_discriminator("be trained")
        if self.lambda_vgg and self.perceptual_loss is None:
            raise ValueError(
                "Training with `lambda_vgg` needs a `perceptual_loss`. Received: "
                f"lambda_vgg={self.lambda_vgg}, perceptual_loss=None."
            )
        generator_optimizer = keras.optimizers.get(generator_optimizer)
        discriminator_optimizer = keras.optimizers.get(discriminator_optimizer)
        super().compile(optimizer=generator_optimizer, **kwargs)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)
        # Out of Keras' sight: `fit` would take them for metrics of training, files would hold them.
        self._means = types.SimpleNamespace(
            **{name: keras.metrics.Mean(name=name) for name in self.metric_names}
        )

    # === Losses ===

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        **options,
    ):
        """Trains as ``keras.Model.fit``; ``validation_data`` is measured as by ``evaluate``.

        Raises:
            ValueError: batches of another form, photographs of another range, no optimizers.
        """
        if self.generator_optimizer is None:
            raise ValueError(
                "`fit` needs an optimizer for each network, and this model has none. Call "
                "`compile(generator_optimizer, discriminator_optimizer)` first."
            )
        data = CheckedData()
        x, y = data(x, y)
        if isinstance(validation_data, tuple | list):
            validation_data = (*data(*validation_data[:2]), *validation_data[2:])
        elif validation_data is not None:
            validation_data, _ = data(validation_data)
        with data.plain_errors():
            return super().fit(
                x,
                y,
                batch_size,
                epochs,
                verbose,
                callbacks,
                validation_split,
                validation_data,
                **options,
            )

    def evaluate(self, x=None, y=None, *arguments, **options):
        """Mean losses of batches, without training; as ``keras.Model.evaluate``.

        The losses and accuracies of ``train_step``, of the averaged generator and the discriminator
        as they are used, with noise from the model's seed alone. ``return_dict=True`` names them.
        For FID and mIoU there is ``python -m oasis_tf.evaluate``.

        Raises:
            ValueError: as ``fit``.
        """
        data = CheckedData()
        x, y = data(x, y)
        with data.plain_errors():
            return super().evaluate(x, y, *arguments, **options)

    def test_step(self, data):
        """Losses of a batch (see ``evaluate``): means of all since ``reset_metrics``."""
        image, label_map = checked_batch(data)
        logs = self.losses_in_use(
            to_float_image(image, self.variable_dtype), tf.cast(label_map, tf.int32)
        )
        for name, mean in vars(self._means).items():
            mean.update_state(logs[name], sample_weight=tf.cast(tf.shape(image)[0], "float32"))
            logs[name] = mean.result()
        return logs

    def reset_metrics(self):
        super().reset_metrics()
        for mean in vars(self._means).values():
            mean.reset_state()

    def train_on_batch(self, x, y=None, *arguments, **options):
        return super().train_on_batch(checked_images(x), y, *arguments, **options)

    def test_on_batch(self, x, y=None, *arguments, **options):
        return super().test_on_batch(checked_images(x), y, *arguments, **options)

    # === Images ===

    def predict(self, x, *arguments, **options):
        """Images of label maps, those of ``generate`` with seed 0, to rounding.

        Args:
            x: int [B, H, W] in model ids, or a data set of such batches.

        Returns:
            float32 array [B, H, W, 3] in [-1, 1].

        Raises:
            ValueError: something else than label maps.
        """
        if isinstance(x, np.ndarray | list) or tf.is_tensor(x):
            x = np.asarray(x)
            if x.ndim == 2:
                raise ValueError(
                    "`predict` takes label maps [B, H, W]; `generate` takes a single one, too. "
                    f"Received: shape={x.shape}."
                )
            self._check_label_map(x)
        return super().predict(x, *arguments, **options)

    def call(self, label_map, noise=None, training=False, seed=0):
        """Images by the averaged generator, as Keras calls a model: to be traced, saved, wrapped.

        ``generate`` is faster, and checks more.

        Args:
            label_map: int [B, H, W] in model ids.
            noise: float [B, Z] or [B, H, W, Z]; default: sampled from ``seed``.
            training: ignored; ``train_step`` trains.
            seed: int, default 0, or int [B], as in ``generate``.

        Returns:
            [B, H, W, 3] in [-1, 1].
        """
        channels = self.generator.vector_channels
        if noise is None and channels:
            seed = seed if tf.is_tensor(seed) else tf.constant(np.asarray(seed, np.int64))
            seeds = tf.broadcast_to(tf.cast(seed, tf.int64), tf.shape(label_map)[:1])
            noise = tf.cast(draws.sample_noise(seeds, channels), self.variable_dtype)
        inputs = (label_map,) if noise is None else (label_map, noise)
        return self.generator_ema(*inputs, training=False)

    def export(self, *arguments, **options):
        """Refuses: Keras' SavedModel would have neither seeds nor edits nor segmentation.

        Raises:
            ValueError: always, with what to call instead.
        """
        raise ValueError(
            "`OASIS.export` is not supported. Write a model directory with "
            "model.save_model_dir(DIR), then python -m export.savedmodel --model_dir=DIR "
            "--output=FOLDER; export.tflite and export.keras_file take it, too."
        )

    # === Files ===

    def get_config(self):
        return {
            "name": self.name,
            "generator": keras.saving.serialize_keras_object(self.generator),
            "discriminator": self.discriminator
            and keras.saving.serialize_keras_object(self.discriminator),
            "has_unknown": self.has_unknown,
            "lambda_labelmix": self.lambda_labelmix,
            "ema_decay": self.ema_decay,
            "ema_warmup": self.ema_warmup,
            "augmentation": dataclasses.asdict(self.augmentation),
            "seed": self.seed,
            "objective": keras.saving.serialize_keras_object(self.objective),
            "encoder": self.encoder and keras.saving.serialize_keras_object(self.encoder),
            "noise": self.noise_kind,
            "consistency": self.consistency,
            "labelmix_bits": self.labelmix_bits,
            "lambda_feature_matching": self.lambda_feature_matching,
            "lambda_vgg": self.lambda_vgg,
            "lambda_kld": self.lambda_kld,
            "label_space": as_json(self.label_space),
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: config[name] and keras.saving.deserialize_keras_object(config[name])
            for name in ("generator", "discriminator", "objective", "encoder")
        }
        parts["label_space"] = from_json(config.get("label_space"))  # older files have none
        return cls(**(config | parts))

    def get_compile_config(self):
        """What ``compile_from_config`` takes."""
        if not self.compiled:
            return {}
        discriminator_optimizer = keras.saving.serialize_keras_object(self.discriminator_optimizer)
        return super().get_compile_config() | {"discriminator_optimizer": discriminator_optimizer}

    def compile_from_config(self, config):
        """Compiles a model that was loaded from a ``.keras`` file.

        Files of earlier releases lack an optimizer, and the weights of VGG-19 are in no file: such
        a model is loaded without optimizers, and ``fit`` says so.
        """
        if "discriminator_optimizer" not in config or self.lambda_vgg:
            return
        config = keras.saving.deserialize_keras_object(config)
        optimizers = config.pop("optimizer"), config.pop("discriminator_optimizer")
        self.compile(*optimizers, **config)
