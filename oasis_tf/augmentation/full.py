"""The whole list of adaptive discriminator augmentation (Karras et al. 2020), or a part of it.

Each transform acts on each sample for itself with the probability. Geometry is one affine map,
resampled once, bilinearly, with mirrored margins; smaller scales take the same map in their own
pixels. Colours are one affine map of RGB. The soft mask and the label map get the geometry alone.
"""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from oasis_tf import randomness
from oasis_tf.augmentation import sampling

_SHIFT, _SCALE, _FRACTION = 0.125, 0.2, 0.125
_BRIGHTNESS, _CONTRAST, _SATURATION, _BAND, _NOISE, _CUT = 0.2, 0.5, 1.0, 1.0, 0.1, 0.5
# Expected share of the power of the four bands, the lowest first.
_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
_COUNTS = {"coins": 19, "uniforms": 10, "normals": 12}
# Transforms by the numbers of their coins.
_FLIP, _TRANSLATION, _ZOOM, _BRIGHT, _CONTRASTED, _SATURATED, _CUT_OUT = 0, 2, 3, 8, 9, 12, 18
BASIC = frozenset({_FLIP, _TRANSLATION, _ZOOM, _BRIGHT, _CONTRASTED, _SATURATED, _CUT_OUT})
ALL = frozenset(range(_COUNTS["coins"]))


class FullDraws(NamedTuple):
    """What is drawn for every sample.

    Attributes:
        geometry: float [B, 2, 3], (row, column) from the centre, in halves of the sides, of the
            source of each place (row, column, 1).
        colours: float [B, 3, 4], RGB of (RGB, 1) in [-1, 1].
        bands: float [B, 4], factors of the frequency bands, the lowest first; or None.
        noise: float [B, H, W, 3], or None. strength: float [B].
        cut: float [B, 4], the rectangle (top, bottom, left, right) that becomes 0, in shares of the
            sides.
    """

    geometry: Any
    colours: Any
    bands: Any
    noise: Any
    strength: Any
    cut: Any


def draw(key, batch, height, width, probability, transforms=ALL):
    """``FullDraws``.

    Args:
        key, batch, height, width: as of ``reduced.draw``.
        probability: float or float scalar, of each transform.
        transforms: which of them there are: ``ALL``, or ``BASIC`` (flip, translation, scale,
            brightness, contrast, saturation, cut-out), whose draws are those of ``ALL``.
    """
    keys = {name: randomness.folded(key, k) for k, name in enumerate((*_COUNTS, "noise"))}
    coins = randomness.uniform(keys["coins"], [_COUNTS["coins"], batch])
    u = randomness.uniform(keys["uniforms"], [_COUNTS["uniforms"], batch])
    n = randomness.normal(keys["normals"], [_COUNTS["normals"], batch])
    used = tf.constant([[k in transforms] for k in range(_COUNTS["coins"])])
    on = (coins < probability) & used
    turn = (coins < 1 - (1 - probability) ** 0.5) & used

    def where(k, value, otherwise=0.0):
        return tf.where(on[k], value, otherwise)

    return FullDraws(
        geometry=_geometry(where, turn, u, n, height, width),
        colours=_colours(where, u, n),
        bands=_bands(on[13:17], n[7:11]) if transforms & set(range(13, 17)) else None,
        noise=randomness.normal(keys["noise"], [batch, height, width, 3])
        if 17 in transforms
        else None,
        strength=where(17, _NOISE * tf.abs(n[11])),
        cut=_cut(on[18], u[8], u[9]),
    )


def apply(draws, images, mask=None, label_map=None):
    """Images, a soft mask and a label map after the transforms; as ``reduced.apply``."""
    dtype = keras.backend.standardize_dtype(images[-1].dtype)
    draws = FullDraws(*(None if x is None else ops.cast(x, dtype) for x in draws))
    changed = [_coloured(_warped(x, draws.geometry), draws) for x in images]
    mask = None if mask is None else _warped(ops.cast(mask, dtype), draws.geometry)
    return changed, mask, None if label_map is None else moved_labels(draws, label_map)


def moved_labels(draws, label_map):
    """A label map int [B, H, W] after the geometry: at every place the nearest label.

    Margins are mirrored and what is cut out keeps its labels: none comes from outside.
    """
    places = _places(draws.geometry, *label_map.shape[1:3])
    places = (ops.cast(ops.round(p), "int32") for p in places)
    return sampling.gathered(label_map[..., None], *places)[..., 0]


# === Geometry ===


def _geometry(where, turn, u, n, height, width):
    """The inverse maps [B, 2, 3], of all geometric transforms in the order of the list."""
    quarter = where(1, tf.floor(4 * u[0])) * (math.pi / 2)
    rows = where(2, tf.round((2 * u[1] - 1) * _SHIFT * height)) * 2 / height
    columns = where(2, tf.round((2 * u[2] - 1) * _SHIFT * width)) * 2 / width
    scale = 2.0 ** where(3, _SCALE * n[0])
    before = tf.where(turn[4], (2 * u[3] - 1) * math.pi, 0.0)
    stretch = 2.0 ** where(5, _SCALE * n[1])
    after = tf.where(turn[6], (2 * u[4] - 1) * math.pi, 0.0)
    steps = [
        _matrix(1, 0, 0, where(0, tf.where(u[5] < 0.5, -1.0, 1.0), 1.0), 0, 0),
        _rotation(quarter, height, width),
        _matrix(1, 0, 0, 1, rows, columns),
        _matrix(1 / scale, 0, 0, 1 / scale, 0, 0),
        _rotation(before, height, width),
        _matrix(stretch, 0, 0, 1 / stretch, 0, 0),
        _rotation(after, height, width),
        _matrix(1, 0, 0, 1, where(7, 2 * _FRACTION * n[2]), where(7, 2 * _FRACTION * n[3])),
    ]
    product = steps[0]
    for step in steps[1:]:
        product = tf.matmul(product, step)
    return product[:, :2]


def _matrix(a, b, c, d, row, column):
    """Matrices [B, 3, 3] of their entries, scalars or [B]."""
    entries = [[a, b, row], [c, d, column], [0, 0, 1]]
    flat = [tf.cast(e, tf.float32) for line in entries for e in line]
    batch = max((e.shape[0] for e in flat if e.shape.rank), default=1)
    stacked = tf.stack([tf.broadcast_to(e, [batch]) for e in flat], axis=-1)
    return tf.reshape(stacked, (-1, 3, 3))


def _rotation(angle, height, width):
    """A rotation in pixels, in halves of the sides."""
    cosine, sine, ratio = tf.cos(angle), tf.sin(angle), width / height
    return _matrix(cosine, -sine * ratio, sine / ratio, cosine, 0, 0)


def _places(geometry, height, width):
    """(rows, columns) float [B, H, W] inside the image, of the source of every pixel."""
    dtype = geometry.dtype
    y = (2 * ops.arange(height, dtype=dtype) + 1) / height - 1
    x = (2 * ops.arange(width, dtype=dtype) + 1) / width - 1
    y, x = y[:, None], x[None, :]
    found = []
    for k, side in enumerate((height, width)):
        a, b, c = (geometry[:, k, j][:, None, None] for j in range(3))
        place = ((a * y + b * x + c + 1) * side - 1) / 2
        found.append(_mirrored(place, side))
    return found


def _mirrored(place, side):
    """Places outside, mirrored at the centres of the outermost pixels."""
    if side == 1:
        return ops.zeros_like(place)
    period = 2 * (side - 1)
    place = ops.mod(place, period)
    return ops.minimum(place, period - place)


def _warped(x, geometry):
    return sampling.sampled(x, *_places(geometry, *x.shape[1:3]))


# === Colours ===


def _colours(where, u, n):
    """Maps [B, 3, 4] of brightness, contrast, luma flip, hue and saturation."""
    brightness, contrast = where(8, _BRIGHTNESS * n[4]), 2.0 ** where(9, _CONTRAST * n[5])
    axis = tf.ones([3, 3]) / 3  # projection onto grey
    grey, colour = axis[None], (tf.eye(3) - axis)[None]
    flip = where(10, tf.where(u[6] < 0.5, -1.0, 1.0), 1.0)[:, None, None]
    hue = where(11, (2 * u[7] - 1) * math.pi)[:, None, None]
    saturation = 2.0 ** where(12, _SATURATION * n[6])[:, None, None]
    root = 1 / math.sqrt(3)
    cross = tf.constant([[0.0, -root, root], [root, 0.0, -root], [-root, root, 0.0]])[None]
    turned = flip * grey + tf.cos(hue) * colour + tf.sin(hue) * cross
    matrix = tf.matmul(grey + saturation * colour, turned) * contrast[:, None, None]
    shift = tf.reduce_sum(matrix, axis=-1) * brightness[:, None]
    return tf.concat([matrix, shift[..., None]], axis=-1)


def _bands(on, n):
    """Factors [B, 4] whose mean power is 1 for images of the usual spectrum."""
    power = tf.constant(_POWER)
    factors = tf.ones([on.shape[1], 4])
    for band in range(4):
        own = tf.where(on[band], 2.0 ** (_BAND * n[band]), 1.0)[:, None]
        change = tf.where(tf.range(4)[None] == band, own, 1.0)
        total = tf.reduce_sum(power * change**2, axis=-1, keepdims=True)
        factors *= change / tf.sqrt(total)
    return factors


def _cut(on, row, column):
    half = tf.where(on, _CUT / 2, 0.0)
    return tf.stack([row - half, row + half, column - half, column + half], axis=-1)


def _coloured(x, draws):
    """``x`` [B, h, w, 3] with other colours and bands, noise and a rectangle of zeros."""
    batch, height, width, _ = x.shape
    matrix, shift = draws.colours[:, :, :3], draws.colours[:, :, 3]
    x = ops.einsum("bhwc,bdc->bhwd", x, matrix) + shift[:, None, None]
    x = x if draws.bands is None else _filtered(x, draws.bands)
    x = x if draws.noise is None else x + _noise(draws, height, width)
    y = (ops.arange(height, dtype=x.dtype) + 0.5) / height
    z = (ops.arange(width, dtype=x.dtype) + 0.5) / width
    # Two slices: TensorFlow's optimizer would lose the new axis of one out of a stack.
    top, bottom, left, right = (draws.cut[:, k][:, None] for k in range(4))
    rows = (y >= top) & (y < bottom)
    columns = (z >= left) & (z < right)
    inside = rows[:, :, None, None] & columns[:, None, :, None]
    return ops.where(inside, ops.zeros_like(x), x)


def _filtered(x, bands):
    """The sum of four bands, each an octave, times their factors."""
    rest, total = x, 0.0
    for band in (3, 2, 1):
        smooth = _smoothed(rest, 2 ** (3 - band))
        total = total + bands[:, band, None, None, None] * (rest - smooth)
        rest = smooth
    return total + bands[:, 0, None, None, None] * rest


def _smoothed(x, distance):
    """The filter (1, 2, 1) / 4 along both axes, with its taps ``distance`` pixels apart."""
    for axis, side in ((1, x.shape[1]), (2, x.shape[2])):
        numbers = ops.arange(side)
        taps = [ops.clip(numbers + step, 0, side - 1) for step in (-distance, distance)]
        x = x / 2 + sum(ops.take(x, tap, axis=axis) for tap in taps) / 4
    return x


def _noise(draws, height, width):
    """Noise at a scale: that of the full size, of which blocks are averaged."""
    _, full, full_width, channels = draws.noise.shape
    blocks = (-1, height, full // height, width, full_width // width, channels)
    noise = ops.mean(ops.reshape(draws.noise, blocks), axis=(2, 4))
    return draws.strength[:, None, None, None] * noise
