"""What training asks of a generator and a discriminator, alike for StyleGAN2 and BigGAN."""

from typing import Any, NamedTuple

from keras import ops

from oasis_tf.systems.few_shot import stylegan2


class Latents(NamedTuple):
    """What images are generated from.

    Attributes:
        z: float [B, Z]. Of an adapted BigGAN, with a Gaussian in place of the embedding.
        other: float [B, Z], the second latents of mixed styles; or None.
        index: int scalar, first row of styles of the second latents; 0: no mixing.
        noise: list of float [B, r, r, 1], of StyleGAN2; None: the stored noise.
        label: int [B], classes of BigGAN; or None.
    """

    z: Any
    other: Any = None
    index: Any = None
    noise: Any = None
    label: Any = None


def is_stylegan2(network):
    """Whether a generator is StyleGAN2's, otherwise BigGAN's."""
    return isinstance(network, stylegan2.Generator)


def styles(generator, latents):
    """Rows of styles [B, N, S] of StyleGAN2."""
    w = generator.mapping(latents.z)
    if latents.other is None:
        return generator.rows(w)
    return generator.mixed(w, generator.mapping(latents.other), latents.index)


def made(generator, latents, training=True, until=None):
    """Image and features of ``Latents``, as of the generator's ``synthesis``.

    Args:
        generator: generator.
        latents: ``Latents``.
        training: bool; batch norm and spectral norm of BigGAN.
        until: int, the resolution whose last features are wanted; no image then.
    """
    if is_stylegan2(generator):
        return generator.synthesis(styles(generator, latents), latents.noise, until)
    v = latents.z
    if latents.label is not None:
        e = generator.embedding(latents.label)
        v = ops.concatenate([ops.cast(v, e.dtype), e], axis=-1)
    return generator.synthesis(v, training=training, until=until)


def judged(discriminator, image, label=None, training=True, **wanted):
    """``Judged`` of images, as of the discriminator's ``judged``.

    Args:
        discriminator: discriminator.
        image: float [B, H, W, 3].
        label: int [B], classes of BigGAN; None: without projection.
        training: bool; spectral norm of BigGAN.
        **wanted: ``convs`` and ``until`` of StyleGAN2's.
    """
    if isinstance(discriminator, stylegan2.Discriminator):
        return discriminator.judged(image, **wanted)
    return discriminator.judged(image, label=label, training=training)
