"""`shapes`: a procedural data set of small landscapes, for first steps and for tests.

A scene has a layout (label map of 12 classes) and a style (light, hues and texture phases). Both
are sampled from the seed, so that one label map has many valid images. Geometry and textures use
relative coordinates: the height is 1, the width is the aspect ratio. So any size works.
"""

import dataclasses

import numpy as np

from oasis_tf.data.datasets import SHAPES_CLASSES

NAMES = tuple(name for name, _ in SHAPES_CLASSES)
(SKY, HILL, GRASS, WATER, ROAD, WALL, ROOF, WINDOW, TREE, SUN, BOAT, BALLOON) = range(len(NAMES))
VALIDATION_INDEX = 2**32  # index of the first validation scene; does not depend on their number

_LAYOUT, _STYLE = 0, 1


def scene(seed: int, index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Generates one scene; a pure function of its arguments.

    Args:
        seed: seed of the data set, ≥ 0.
        index: index of the scene, ≥ 0.
        height, width: size in pixels, ≥ 8.

    Returns:
        (image uint8 [height, width, 3], label map uint8 [height, width] with ids 0…11).

    Raises:
        ValueError: an argument is out of range.
    """
    label_map = layout(seed, index, height, width)
    return render(label_map, seed, index), label_map


def layout(seed: int, index: int, height: int, width: int) -> np.ndarray:
    """Generates the label map uint8 [height, width] of a scene; see `scene`."""
    if height < 8 or width < 8:
        raise ValueError(
            f"Scenes need at least 8×8 pixels. Received: height={height}, width={width}."
        )
    rng = _rng(seed, index, _LAYOUT)
    y, x = _grid(height, width)
    canvas = _Canvas(np.full((height, width), SKY, np.uint8), y, x, width / height)
    horizon = rng.uniform(0.38, 0.56)
    _draw_sky(canvas, rng, horizon)
    _draw_ground(canvas, rng, horizon)
    shore = _draw_water(canvas, rng, horizon)
    _draw_road(canvas, rng, shore)
    _draw_objects(canvas, rng, shore)
    return canvas.labels


def render(label_map: np.ndarray, seed: int, index: int) -> np.ndarray:
    """Renders a label map [h, w] of ids 0…11 in the style of `index`: uint8 [h, w, 3]."""
    rng = _rng(seed, index, _STYLE)
    height, width = label_map.shape
    y, x = _grid(height, width)
    colors = _class_colors(rng)
    patterns = _patterns(rng, y, x)
    strength = np.take_along_axis(np.stack(patterns), label_map[None].astype(np.intp), 0)[0]
    image = colors[label_map] * (1 + strength[..., None])
    tint = 1 + rng.uniform(-0.09, 0.09, 3)
    light = rng.uniform(0.88, 1.08) + rng.uniform(-0.08, 0.08) * (x / x.max() - 0.5)
    image = 255 * np.clip(image * tint * light[..., None], 0, 1)
    return np.round(image).astype(np.uint8)


# === Layout ===


@dataclasses.dataclass
class _Canvas:
    """A label map under construction, with the coordinates of its pixels (height is 1)."""

    labels: np.ndarray
    y: np.ndarray
    x: np.ndarray
    width: float

    def fill(self, inside: np.ndarray, class_id: int) -> None:
        self.labels[np.broadcast_to(inside, self.labels.shape)] = class_id

    def ellipse(self, cy: float, cx: float, ry: float, rx: float) -> np.ndarray:
        return ((self.y - cy) / ry) ** 2 + ((self.x - cx) / rx) ** 2 < 1

    def box(self, top: float, bottom: float, left: float, right: float) -> np.ndarray:
        return (self.y >= top) & (self.y < bottom) & (self.x >= left) & (self.x < right)

    def spire(self, top: float, bottom: float, cx: float, base: float, tip: float) -> np.ndarray:
        """An upright triangle (or, with tip > 0, a trapezoid) of the given half widths."""
        part = (self.y - top) / (bottom - top)
        return (part >= 0) & (part < 1) & (np.abs(self.x - cx) < tip + (base - tip) * part)


def _rng(seed: int, index: int, stream: int) -> np.random.Generator:
    if seed < 0 or index < 0:
        raise ValueError(f"`seed` and `index` must be ≥ 0. Received: seed={seed}, index={index}.")
    return np.random.Generator(np.random.PCG64([seed, index, stream]))


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixel centres: y [height, 1] in 0…1, x [1, width] in 0…aspect ratio."""
    y = (np.arange(height) + 0.5) / height
    x = (np.arange(width) + 0.5) / height
    return y[:, None], x[None]


def _ridge(rng: np.random.Generator, x: np.ndarray, roughness: float) -> np.ndarray:
    """Samples a smooth line over x, within about ±roughness."""
    line = np.zeros_like(x)
    for cycles in (0.7, 1.5, 3.1):
        line += np.sin(2 * np.pi * (cycles * x * rng.uniform(0.7, 1.3) + rng.uniform())) / cycles
    return roughness * line / 1.6


def _draw_sky(canvas: _Canvas, rng: np.random.Generator, horizon: float) -> None:
    width = canvas.width
    if rng.uniform() < 0.45:
        radius = rng.uniform(0.045, 0.065)
        cy, cx = rng.uniform(0.08, 0.22), rng.uniform(0.08, 0.92) * width
        canvas.fill(canvas.ellipse(cy, cx, radius, radius), SUN)
    if rng.uniform() < 0.25:
        radius = rng.uniform(0.05, 0.07)
        cy, cx = rng.uniform(0.1, 0.6) * horizon, rng.uniform(0.1, 0.9) * width
        canvas.fill(canvas.ellipse(cy, cx, radius * 1.2, radius), BALLOON)
        canvas.fill(canvas.spire(cy, cy + 1.9 * radius, cx, radius * 0.3, radius * 0.95), BALLOON)


def _draw_ground(canvas: _Canvas, rng: np.random.Generator, horizon: float) -> None:
    if rng.uniform() < 0.85:
        ridge = horizon - rng.uniform(0.08, 0.2) + _ridge(rng, canvas.x, rng.uniform(0.04, 0.12))
        canvas.fill(canvas.y > ridge, HILL)
    canvas.fill(canvas.y > horizon + _ridge(rng, canvas.x, rng.uniform(0, 0.03)), GRASS)


def _draw_water(canvas: _Canvas, rng: np.random.Generator, horizon: float) -> float:
    """Draws a sea or a lake with boats, or none. Returns the y at which dry land begins."""
    kind, width = rng.uniform(), canvas.width
    if kind < 0.4:
        shore = horizon + rng.uniform(0.12, 0.22)
        line = shore + _ridge(rng, canvas.x, rng.uniform(0.01, 0.04))
        canvas.fill((canvas.y > horizon) & (canvas.y < line), WATER)
        middle, reach = (horizon + shore) / 2, 0.4 * width
        cx, dry = width / 2, shore + 0.03
    elif kind < 0.75:
        ry, rx = rng.uniform(0.08, 0.13), rng.uniform(0.22, 0.4)
        middle, cx = rng.uniform(horizon + 0.16, 0.86), rng.uniform(0.15, 0.85) * width
        wobble = 1 + _ridge(rng, canvas.x, 0.12)
        canvas.fill(canvas.ellipse(middle, cx, ry * wobble, rx), WATER)
        reach, dry = 0.5 * rx, horizon
    else:
        return horizon
    if rng.uniform() < 0.4:
        left, right = max(0.1, cx - reach), min(width - 0.1, cx + reach)
        _draw_boat(canvas, rng, middle, rng.uniform(min(left, right), max(left, right)))
    return dry


def _draw_boat(canvas: _Canvas, rng: np.random.Generator, cy: float, cx: float) -> None:
    size = rng.uniform(0.07, 0.1)
    canvas.fill(canvas.spire(cy - 1.2 * size, cy, cx, 0.8 * size, 0), BOAT)
    canvas.fill(canvas.spire(cy - 0.1 * size, cy + 0.55 * size, cx, 0.7 * size, 1.1 * size), BOAT)


def _draw_road(canvas: _Canvas, rng: np.random.Generator, top: float) -> None:
    if rng.uniform() < 0.35:
        return
    depth = np.clip((canvas.y - top) / (1 - top), 0, 1)  # 0 far, 1 near
    far, near = rng.uniform(0.2, 0.8, 2) * canvas.width
    bend = rng.uniform(-0.25, 0.25) * np.sin(np.pi * depth * rng.uniform(0.8, 1.6))
    center = far + (near - far) * depth + bend
    half_width = 0.03 + rng.uniform(0.07, 0.15) * depth
    canvas.fill((canvas.y > top) & (np.abs(canvas.x - center) < half_width), ROAD)


def _draw_objects(canvas: _Canvas, rng: np.random.Generator, top: float) -> None:
    """Draws houses and trees, far ones first."""
    houses = rng.integers(0, 1 + max(2, round(2 * canvas.width)), endpoint=False)
    trees = rng.integers(1, 1 + max(4, round(5 * canvas.width)), endpoint=True)
    draw = [_draw_house] * int(houses) + [_draw_tree] * int(trees)
    rng.shuffle(draw)
    feet = np.sort(rng.uniform(top + 0.02, 0.97, len(draw)))
    for draw_one, foot in zip(draw, feet, strict=True):
        near = (foot - top) / (1 - top)
        draw_one(canvas, rng, foot, rng.uniform(0.02, 0.98) * canvas.width, 0.6 + 0.5 * near)


def _draw_house(canvas: _Canvas, rng, foot: float, cx: float, scale: float) -> None:
    half = scale * rng.uniform(0.13, 0.19)
    storeys = int(rng.integers(1, 3))
    wall_top = foot - scale * (0.07 + 0.13 * storeys)
    canvas.fill(canvas.box(wall_top, foot, cx - half, cx + half), WALL)
    roof_top = wall_top - scale * rng.uniform(0.1, 0.18)
    tip = half * rng.choice([0.0, 0.5])
    canvas.fill(canvas.spire(roof_top, wall_top, cx, 1.2 * half, tip), ROOF)
    pane = scale * rng.uniform(0.038, 0.046)
    for storey in range(storeys):
        cy = wall_top + scale * (0.075 + 0.13 * storey)
        for side in (-0.5, 0.5):
            window = cx + side * half
            canvas.fill(canvas.box(cy - pane, cy + pane, window - pane, window + pane), WINDOW)


def _draw_tree(canvas: _Canvas, rng, foot: float, cx: float, scale: float) -> None:
    size = scale * rng.uniform(0.08, 0.14)
    canvas.fill(canvas.box(foot - size, foot, cx - 0.2 * size, cx + 0.2 * size), TREE)
    if rng.uniform() < 0.5:
        canvas.fill(canvas.spire(foot - 3 * size, foot - 0.4 * size, cx, 0.9 * size, 0), TREE)
    else:
        canvas.fill(canvas.ellipse(foot - 1.6 * size, cx, 1.1 * size, size), TREE)


# === Style ===


def _class_colors(rng: np.random.Generator) -> np.ndarray:
    """Samples base colours [12, 3] in 0…1: each class varies around its own colour."""
    colors = np.array([color for _, color in SHAPES_CLASSES]) / 255
    season = rng.uniform(-1, 1)  # from lush to dry
    colors[GRASS] += np.array([0.14, 0.0, -0.03]) * season
    colors[TREE] += np.array([0.05, 0.0, -0.02]) * season
    dusk = rng.uniform(0, 1)  # makes sky and water pink together
    colors[SKY] += np.array([0.30, 0.04, -0.02]) * dusk
    colors[WATER] += np.array([0.12, 0.02, 0.0]) * dusk
    colors[HILL] += rng.uniform(-1, 1) * np.array([-0.06, 0.04, 0.08])
    colors[ROOF] += rng.uniform(0, 1) * np.array([-0.08, 0.08, 0.02])
    colors[BALLOON] += rng.uniform(0, 1) * np.array([-0.2, 0.0, 0.2])
    return colors + rng.uniform(-0.03, 0.03, colors.shape)


def _patterns(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """Returns the brightness pattern [h, w] of each class, about ±0.2, with random phases."""
    shift = rng.uniform(0, 1, (len(NAMES), 2))

    def wave(class_id, cycles_y, cycles_x):
        phase = cycles_y * (y + shift[class_id, 0]) + cycles_x * (x + shift[class_id, 1])
        return np.sin(2 * np.pi * phase)

    noise = _value_noise(rng, y, x)
    patterns = [np.zeros((y.size, x.size))] * len(NAMES)
    patterns[SKY] = 0.22 * (y - 0.3) + 0.10 * np.maximum(
        wave(SKY, 3.5, 0.9) * wave(SKY, 1.2, -1.3), 0
    )
    patterns[HILL] = 0.16 * wave(HILL, 7, rng.choice([-5, 5]))
    patterns[GRASS] = 0.45 * noise
    patterns[WATER] = 0.28 * np.sin(
        2 * np.pi * (11 * y + shift[WATER, 0] + 0.25 * wave(WATER, 0, 2.5))
    )
    patterns[ROAD] = 0.30 * noise + 0.12 * wave(ROAD, 4, 0)
    patterns[WALL] = 0.14 * np.where(wave(WALL, 13, 0) > -0.5, 0.5, -1) + 0 * x
    patterns[ROOF] = 0.22 * wave(ROOF, 6, 13)
    patterns[WINDOW] = 0.10 * wave(WINDOW, 5, 5)
    patterns[TREE] = 0.40 * wave(TREE, 9, 9) * wave(TREE, 9, -9)
    patterns[SUN] = 0.06 * wave(SUN, 6, 0) + 0 * x
    patterns[BOAT] = 0.08 * wave(BOAT, 9, 0) + 0 * x
    patterns[BALLOON] = 0.25 * np.where(wave(BALLOON, 0, 12) > 0, 1, -1) + 0 * y
    return patterns


def _value_noise(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Samples smooth noise [h, w], about ±0.5, from a random lattice of 28 cells per height."""
    lattice = np.pad(rng.uniform(-0.5, 0.5, (28, 28)), (0, 1), mode="wrap")
    i, fy = np.divmod(28 * y, 1)
    j, fx = np.divmod(28 * x, 1)
    i, j = i.astype(int) % 28, j.astype(int) % 28
    top = lattice[i, j] * (1 - fx) + lattice[i, j + 1] * fx
    bottom = lattice[i + 1, j] * (1 - fx) + lattice[i + 1, j + 1] * fx
    return top * (1 - fy) + bottom * fy
