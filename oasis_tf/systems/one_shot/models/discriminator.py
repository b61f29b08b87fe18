"""The discriminator: low-level blocks, then a content and a layout branch, logits everywhere."""

from typing import NamedTuple

import keras
from keras import ops

from oasis_tf.layers.resampling import average_pool
from oasis_tf.systems.one_shot.models.layers import Block, OneShotConv2D


class Logits(NamedTuple):
    """Logits of every block, lists in order.

    Attributes:
        low: [B, h, w, 1].
        content: [B, 1, 1, 1]; with attention [N * B, 1, 1, N + 1], object-major.
        layout: [B, h, w, 1]. Of a plain discriminator, those of its further blocks.
    """

    low: list
    content: list
    layout: list


@keras.saving.register_keras_serializable("oasis_tf.one_shot")
class DiscriminatorBlock(Block):
    """``avgpool(conv_1(lrelu(conv_0(lrelu(x)))))`` plus ``conv_s(avgpool(x))``; halves the sides.

    Odd last rows and columns are dropped. A 1x1 convolution without bias commutes with average
    pooling, so the skip pools first, which is cheaper. ``first=True`` leaves out the first LReLU.
    """

    def __init__(self, in_channels, out_channels, norm="none", first=False, **kwargs):
        super().__init__(in_channels, out_channels, norm, **kwargs)
        self.first = first
        self.make_parts(3, ("none", "average_pool"), first_norm=not first)

    def call(self, x, training=False):
        y = self.conv_0(x if self.first else self.activated(x, 0, training), training=training)
        y = self.conv_1(self.activated(y, 1, training), training=training)
        return y + self.skip(average_pool(x), training)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, *(side and side // 2 for side in (height, width)), self.out_channels)

    def get_config(self):
        return super().get_config() | {"first": self.first}


@keras.saving.register_keras_serializable("oasis_tf.one_shot")
class ContentBlock(Block):
    """``conv_1(lrelu(conv_0(lrelu(x))))``, 1x1, plus the skip: identity if the widths are equal."""

    def __init__(self, in_channels, out_channels, norm="none", **kwargs):
        super().__init__(in_channels, out_channels, norm, **kwargs)
        self.make_parts(1, skip=in_channels != out_channels)

    def call(self, x, training=False):
        y = self.conv_0(self.activated(x, 0, training), training=training)
        return self.conv_1(self.activated(y, 1, training), training=training) + self.skip(
            x, training
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.out_channels)


@keras.saving.register_keras_serializable("oasis_tf.one_shot")
class Discriminator(keras.Model):
    """Logits of what an image shows (content), where (layout), and how its parts look (low level).

    Args:
        widths: channels before and after every block of low-level and layout branches.
        blocks_d0: int, number of low-level blocks.
        content_widths: channels before and after every content block.
        num_classes: int, default 0, classes of masks.
        masks: "attention", "concat" or "projection": what masks are for; None (default): they are
            not looked at.
        content, layout: bools, which branches there are; without both, a plain discriminator.
        squeeze: "block" (default) or "conv", what makes one channel for the layout branch.
        norm: "none" (default) or "batch".
    """

    def __init__(
        self,
        widths,
        blocks_d0,
        content_widths=None,
        num_classes=0,
        masks=None,
        content=True,
        layout=True,
        squeeze="block",
        norm="none",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.widths, self.blocks_d0, self.squeeze, self.norm = widths, blocks_d0, squeeze, norm
        self.content_widths = tuple(content_widths or widths[blocks_d0:])
        self.num_classes, self.masks = num_classes, masks
        self.has_content, self.has_layout = content, layout
        self.plain = not (content or layout)
        common = {"dtype": self.dtype_policy}
        low, high = widths[: blocks_d0 + 1], widths[blocks_d0:]
        from_rgb = [low[0], *(width // 8 for width in low[1:-1])]
        into = [low[0], *(a + b for a, b in zip(low[1:-1], from_rgb[1:], strict=True))]
        self.from_rgb = [
            OneShotConv2D(width, 3, name=f"from_rgb_{k}", **common)
            for k, width in enumerate(from_rgb)
        ]
        self.low = [
            DiscriminatorBlock(a, b, norm, first=k == 0, name=f"low_{k}", **common)
            for k, (a, b) in enumerate(zip(into, low[1:], strict=True))
        ]
        widths_of = {"content": self.content_widths if content else ()}
        if self.plain:
            widths_of["layout"] = high
        else:
            start = 1 if squeeze == "conv" else high[0]
            widths_of["layout"] = (start, *(1 for _ in high[1:])) if layout else ()
        self.squeezed = None
        if layout and squeeze == "conv":
            self.squeezed = OneShotConv2D(1, 1, name="squeeze", **common)
        self.content = self._blocks(ContentBlock, "content", widths_of["content"])
        self.layout = self._blocks(DiscriminatorBlock, "layout", widths_of["layout"])
        outputs = num_classes + 1 if masks == "attention" else 1
        self.low_heads = self._heads("low", self.low, 1)
        self.content_heads = self._heads("content", self.content, outputs)
        self.layout_heads = self._heads("layout", self.layout, 1)
        self.projection = None
        if masks == "projection":
            self.projection = OneShotConv2D(high[0], 1, use_bias=False, name="embed", **common)
        self.build()

    def _blocks(self, kind, name, widths):
        return [
            kind(a, b, self.norm, name=f"{name}_{k}", dtype=self.dtype_policy)
            for k, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        ]

    def _heads(self, name, blocks, filters):
        return [
            OneShotConv2D(filters, 1, name=f"{name}_head_{k}", dtype=self.dtype_policy)
            for k in range(len(blocks))
        ]

    def build(self, *_):
        if self.built:
            return
        for k, layer in enumerate(self.from_rgb):
            masks = self.num_classes if k == 0 and self.masks == "concat" else 0
            layer.build((None, None, None, 3 + masks))
        for blocks, heads in (
            (self.low, self.low_heads),
            (self.content, self.content_heads),
            (self.layout, self.layout_heads),
        ):
            for block, head in zip(blocks, heads, strict=True):
                block.build()
                head.build((None, None, None, block.out_channels))
        if self.squeezed is not None:
            self.squeezed.build((None, None, None, self.widths[self.blocks_d0]))
        if self.projection is not None:
            self.projection.build((None, None, None, self.num_classes))
        self.built = True

    @property
    def scale(self):
        """How many times smaller than the image the mask is that ``call`` takes."""
        return 1 if self.masks == "concat" else 2**self.blocks_d0

    def call(self, images, object_mask=None, training=False, of_content=None, of_layout=None):
        """Logits.

        Args:
            images: float [B, h, w, 3], the ``blocks_d0`` largest ones, smallest first.
            object_mask: float [B, H / scale, W / scale, N], if masks are looked at.
            training: bool. True takes a power iteration in every layer.
            of_content, of_layout: functions that change the vectors of the content branch
                [B or N * B, 1, 1, C] and the map of the layout branch [B, h, w, C] at its entrance;
                default: nothing.

        Returns:
            ``Logits``.
        """
        features, low = self.low_level(images, object_mask, training)
        return Logits(
            low,
            self._content_logits(features, object_mask, training, of_content),
            self._layout_logits(features, training, of_layout),
        )

    def low_level(self, images, mask=None, training=False):
        """(features [B, h, w, C], low-level logits); arguments as of ``call``."""
        largest_first = images[::-1]
        x, logits = None, []
        for k, (layer, block, head) in enumerate(
            zip(self.from_rgb, self.low, self.low_heads, strict=True)
        ):
            image = largest_first[k]
            if k == 0 and self.masks == "concat":
                image = ops.concatenate([image, mask], axis=-1)
            rgb = layer(image, training=training)
            x = rgb if x is None else ops.concatenate([x, rgb], axis=-1)
            x = block(x, training=training)
            logits.append(head(x, training=training))
        if self.projection is not None:
            embedded = self.projection(mask, training=training)
            logits[-1] = logits[-1] + ops.sum(x * embedded, axis=-1, keepdims=True)
        return x, logits

    def vectors(self, features, mask=None):
        """What enters the content branch: [B, 1, 1, C]; with attention [N * B, 1, 1, C].

        With attention, row ``i * B + b`` is the mean over all positions of features times channel
        i of the mask: not over the object's area.
        """
        if self.masks != "attention":
            return ops.mean(features, axis=(1, 2), keepdims=True)
        _, height, width, channels = features.shape
        mask = ops.cast(mask, features.dtype)
        sums = ops.einsum("bhwc,bhwn->nbc", features, mask)
        return ops.reshape(sums / (height * width), (-1, 1, 1, channels))

    def _content_logits(self, features, mask, training, change):
        if not self.has_content:
            return []
        vectors = self.vectors(features, mask)
        vectors = vectors if change is None else change(vectors)
        return self._through(self.content, self.content_heads, vectors, training)

    def _layout_logits(self, features, training, change):
        if not self.layout:
            return []
        x = features if self.squeezed is None else self.squeezed(features, training=training)
        x = x if change is None else change(x)
        return self._through(self.layout, self.layout_heads, x, training)

    def _through(self, blocks, heads, x, training):
        logits = []
        for block, head in zip(blocks, heads, strict=True):
            x = block(x, training=training)
            logits.append(head(x, training=training))
        return logits

    def get_config(self):
        return super().get_config() | {
            "widths": self.widths,
            "blocks_d0": self.blocks_d0,
            "content_widths": self.content_widths,
            "num_classes": self.num_classes,
            "masks": self.masks,
            "content": self.has_content,
            "layout": self.has_layout,
            "squeeze": self.squeeze,
            "norm": self.norm,
        }
