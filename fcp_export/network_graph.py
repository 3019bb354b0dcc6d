"""A trained network as an ONNX graph that computes the same in fewer passes over memory.

The separable networks are bound by memory, so what counts is how often a map is read and written.
onnxruntime runs a convolution, the sum with another map and the ReLU in one pass, in its own channel
layout; hence

- a batch norm is folded into the convolution before it, or is a depthwise convolution itself;
- the style, one number a channel, is a small constant map enlarged and added inside a convolution;
- 1x1 parts multiply with what is linear around them, and run before an enlargement, not after;
- the first separable convolution, of one channel, is a standard one;
- a scale that can follow a ReLU goes into the convolution behind it, its offset into the one before;
- four rows of the three outputs are twelve channels of one convolution.

All of it is exact but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_export.fold import (
    Affine,
    Array,
    Kernel,
    array,
    batch_norm,
    dense,
    doubling,
    kernels,
    scaling,
    shifting,
)
from fcp_export.graph import DEEPEST, GraphWriter, Map

if TYPE_CHECKING:
    from torch import nn

    from fcp_export.architectures.networks import (
        CellposeNet,
        EncoderLevel,
        PlainDecoderLevel,
        ResidualDecoderLevel,
    )
    from fcp_export.architectures.units import StyleUnit


FAR = 16.0
"""Largest offset that is added to a map and taken away again, of a map whose numbers are about 1."""


@dataclass(frozen=True)
class Pending:
    """A convolution not yet written, so that what follows can still be folded into it."""

    x: Map
    kernel: Kernel
    name: str


class NetworkWriter:
    """Walks through a network in evaluation mode and writes its graph.

    Parameters
    ----------
    net : CellposeNet
    """

    def __init__(self, net: CellposeNet) -> None:
        self.net = net
        self.graph = GraphWriter()
        self.style = ""  # the name of the style vector, once it is written
        self.carried = carried(net)

    def write(self) -> GraphWriter:
        """Write encoder, style, decoder and head."""
        self.graph.sizes()
        down: Any = self.net.downsample.down
        maps = [self._encode_image(down[0])]
        for index in range(1, DEEPEST + 1):
            maps.append(self._encode(down[index], maps[-1], index))
        self.style = self.graph.style(maps[-1])
        plain = self.net.spec.decoder == "plain"
        x = self._plain_decoder(maps) if plain else self._residual_decoder(maps)
        norm, conv = _parts(self.net.output)
        self.graph.head(self._active(x, norm, "head"), dense(conv), "fields")
        return self.graph

    def _encode_image(self, level: EncoderLevel) -> Map:
        """Write the finest encoder level, whose second input channel is zero."""
        norm, conv = _parts(level.conv[0])
        # behind batch norm and ReLU it is a constant, which matters only where it is not zero
        channels = 2 if norm.offset[1] > 0 else 1
        norm = Affine(norm.scale[:channels], norm.offset[:channels])
        first = dense(conv)
        first = replace(first, weight=first.weight[:, :channels])
        if channels == 1 and _scale_may_follow(norm):
            first = first.scaled(norm.scale)
            norm = Affine(np.ones(1), norm.offset / norm.scale)
        active = self.graph.activated_image(norm.scale, norm.offset)
        skip = None
        if level.level != "plain":
            project = _projection(level)  # pointwise, so the constant is in its bias already
            project = replace(project, weight=project.weight[:, :1])
            skip = self.graph.convolution(Map("image", 1, 0), project, "down0.proj")
        return self._encode_rest(level, Pending(active, first, "down0.conv0"), skip, 0)

    def _encode(self, level: EncoderLevel, finer: Map, index: int) -> Map:
        """Write pooling and another encoder level."""
        name = f"down{index}"
        x = self.graph.pooled(finer, f"{name}.pool")
        norm, conv = _parts(level.conv[0])
        held = self.carried[index - 1]
        if held is not None and held.shifted:
            active = self.graph.relu(x, f"{name}.conv0.norm")
            first = self._first(active, conv, f"{name}.conv0", norm.scale / held.affine.scale)
        else:
            if held is not None:
                norm = Affine(norm.scale / held.affine.scale, norm.offset)
            active = self._active(x, norm, f"{name}.conv0.norm")
            first = self._first(active, conv, f"{name}.conv0")
        skip = None
        if level.level != "plain":
            skip = self.graph.convolution(x, _projection(level), f"{name}.proj")
        return self._encode_rest(level, first, skip, index)

    def _encode_rest(
        self, level: EncoderLevel, first: Pending, skip: Map | None, index: int
    ) -> Map:
        """Write what follows the first convolution of an encoder level."""
        name = f"down{index}"
        second = self._unit(first, level.conv[1], f"{name}.conv1")
        if skip is None:
            held = self.carried[index]
            return self._done(second, None if held is None else held.affine)
        x = self._done(second, add=skip)
        if level.level != "full":
            return x
        third = self._unit(x, level.conv[2], f"{name}.conv2")
        return self._done(self._unit(third, level.conv[3], f"{name}.conv3"), add=x)

    def _residual_decoder(self, maps: list[Map]) -> Map:
        """Write a decoder whose levels have projections."""
        up: Any = self.net.upsample.up
        x = maps[DEEPEST]
        for index in range(DEEPEST, -1, -1):
            x = self._decode(up[index], x, maps[index], index)
        return x

    def _plain_decoder(self, maps: list[Map]) -> Pending:
        """Write a decoder whose levels have none."""
        up: Any = self.net.upsample.up
        unit = up[DEEPEST].conv[0]
        norm, style = self._style_map(unit, DEEPEST, f"up{DEEPEST}")
        twice = scaling(2 * norm.scale)  # at the deepest level the input is the skip map
        active = self.graph.convolution(
            maps[DEEPEST], twice, f"up{DEEPEST}.norm", add=style, relu=True
        )
        x = self._styled(unit, active, f"up{DEEPEST}.conv")
        for index in range(DEEPEST - 1, -1, -1):
            x = self._decode_plain(up[index], x, maps[index], index)
        return x

    def _decode(self, level: ResidualDecoderLevel, x: Map, skip: Map, index: int) -> Map:
        """Write a decoder level with a projection."""
        name = f"up{index}"
        if self.net.spec.up == "interleaved" and index < DEEPEST and index % 2 == 1:
            x = self._doubled(x, index)
        norm, conv = _parts(level.conv[0])
        active = self._active(x, norm, f"{name}.conv0.norm")
        projected = self.graph.convolution(x, _projection(level), f"{name}.proj")
        if x.level > index:  # nothing mixed pixels yet, so this is the time to enlarge
            active = self.graph.enlarged(active, index, f"{name}.conv0.large")
            projected = self.graph.enlarged(projected, index, f"{name}.proj.large")
        first = self._first(active, conv, f"{name}.conv0")
        scale, style = self._style_map(level.conv[1], index, f"{name}.conv1")
        total = self._done(first, scale, add=style)
        active = self.graph.convolution(
            skip, scaling(scale.scale), f"{name}.skip", add=total, relu=True
        )
        x = self._done(self._styled(level.conv[1], active, f"{name}.conv1"), add=projected)
        if level.level != "full":
            return x
        scale, style = self._style_map(level.conv[2], index, f"{name}.conv2")
        active = self.graph.convolution(
            x, scaling(scale.scale), f"{name}.conv2.norm", add=style, relu=True
        )
        third = self._styled(level.conv[2], active, f"{name}.conv2")
        scale, style = self._style_map(level.conv[3], index, f"{name}.conv3")
        active = self._done(third, scale, add=style, relu=True)
        return self._done(self._styled(level.conv[3], active, f"{name}.conv3"), add=x)

    def _doubled(self, x: Map, index: int) -> Map:
        """Write the transposed convolution on the way to a level."""
        up = doubling(self.net.upsample.doubling[str(index + 1)])
        large = self.graph.doubled(x, up, f"up{index}.doubled")
        bias = Affine(np.ones(large.channels), up.bias[0, 0])
        return self.graph.convolution(large, shifting(bias), f"up{index}.large")

    def _decode_plain(self, level: PlainDecoderLevel, x: Pending, skip: Map, index: int) -> Pending:
        """Write a decoder level without a projection."""
        name = f"up{index}"
        unit: Any = level.conv[0]
        norm, _ = _parts(unit.conv)
        up = doubling(level.up)
        if x.kernel.pointwise:
            up, low = up.after(x.kernel), x.x
        else:
            low = self._done(x)
        up = up.then(norm)
        weight = np.tile(norm.scale[:, None] * array(unit.full.weight), (4, 1))
        bias = np.tile(norm.scale * array(unit.full.bias), 4) + up.bias.reshape(-1)
        style_name = self.graph.linear(self.style, weight, bias, f"{name}.style")
        large = self.graph.doubled(low, up, f"{name}.doubled", style_name)
        back = np.zeros(large.channels)
        held = self.carried[index]
        if held is None:
            skip = self.graph.convolution(skip, scaling(norm.scale), f"{name}.skip")
        else:
            back -= held.affine.offset
        same = shifting(Affine(np.ones(large.channels), back))  # in which the sum and ReLU fit
        active = self.graph.convolution(large, same, f"{name}.norm", add=skip, relu=True)
        return self._styled(unit, active, f"{name}.conv")

    def _style_map(self, unit: StyleUnit | Any, index: int, name: str) -> tuple[Affine, Map]:
        """Write a style unit's constant map; return the scale for its other maps, and it.

        ``norm(x + style)`` is ``scale * x`` plus this map.
        """
        norm, _ = _parts(unit.conv)
        weight, bias = array(unit.full.weight), array(unit.full.bias)
        numbers = self.graph.linear(self.style, weight, bias, f"{name}.style.linear")
        small = self.graph.spread(numbers, len(bias), f"{name}.style.small")
        x = self.graph.convolution(small, shifting(norm), f"{name}.style.norm")
        if index < DEEPEST:
            x = self.graph.enlarged(x, index, f"{name}.style.large")
        return _scale(norm.scale), x

    def _styled(self, unit: StyleUnit | Any, active: Map, name: str) -> Pending:
        """Write a style unit's convolution, but for its last kernel."""
        return self._first(active, _parts(unit.conv)[1], name)

    def _unit(self, x: Map | Pending, unit: nn.Module, name: str) -> Pending:
        """Write batch norm, ReLU and convolution, but for its last kernel."""
        norm, conv = _parts(unit)
        return self._first(self._active(x, norm, f"{name}.norm"), conv, name)

    def _active(self, x: Map | Pending, norm: Affine, name: str) -> Map:
        """Write batch norm and ReLU, in the convolution before where that is pending."""
        if isinstance(x, Pending):
            return self._done(x, norm, relu=True)
        return self.graph.convolution(x, shifting(norm), name, relu=True)

    def _first(self, x: Map, conv: nn.Module, name: str, scale: Array | None = None) -> Pending:
        """Write all but the last kernel of a convolution, of an input still to be scaled."""
        *first, last = kernels(conv, scale)
        for kernel in first:
            x = self.graph.convolution(x, kernel, f"{name}.depthwise")
        return Pending(x, last, name)

    def _done(
        self,
        x: Pending,
        affine: Affine | None = None,
        *,
        add: Map | None = None,
        relu: bool = False,
    ) -> Map:
        """Write a pending convolution with what follows it."""
        kernel: Kernel = x.kernel if affine is None else x.kernel.then(affine)
        return self.graph.convolution(x.x, kernel, x.name, add=add, relu=relu)


@dataclass(frozen=True)
class Carried:
    """What an encoder's map has had done to it in the graph.

    Attributes
    ----------
    affine : Affine
        The scale of the decoder's batch norm, and an offset that the decoder takes away again.
    shifted : bool
        Whether with the offset the batch norm behind the pooling is a scale after its ReLU.
    """

    affine: Affine
    shifted: bool


def carried(net: CellposeNet) -> list[Carried | None]:
    """Return for each level what the encoder's map carries in the graph.

    A plain decoder level adds the map behind a batch norm. If its scales are positive, the encoder
    can apply them, because a maximum commutes with a positive factor; otherwise they need a pass of
    their own and the map stays as it is (None). If the scales of the batch norm behind the pooling
    can follow its ReLU, the encoder adds what its offset then is.
    """
    if net.spec.encoder != "plain" or net.spec.decoder != "plain":
        return [None] * (DEEPEST + 1)
    up: Any = net.upsample.up
    down: Any = net.downsample.down
    found: list[Carried | None] = []
    for index in range(DEEPEST):
        scale = _parts(up[index].conv[0].conv)[0].scale
        norm = _parts(down[index + 1].conv[0])[0]
        shifted = _scale_may_follow(norm)
        offset = scale / norm.scale * norm.offset if shifted else np.zeros_like(scale)
        found.append(Carried(Affine(scale, offset), shifted) if (scale > 0).all() else None)
    return [*found, None]


def _scale_may_follow(norm: Affine) -> bool:
    """Tell whether a batch norm's scale can follow the ReLU: if it is positive, and not too small.

    The offset before it is divided by it, and must not be so large that the map loses digits.
    """
    return bool(((norm.scale > 0) & (np.abs(norm.offset) <= FAR * norm.scale)).all())


def _scale(scale: Array) -> Affine:
    return Affine(scale, np.zeros_like(scale))


def _parts(unit: Any) -> tuple[Affine, nn.Module]:
    """Return batch norm and convolution of a ``bn_relu_conv`` or projection."""
    return batch_norm(unit[0]), unit[-1]


def _projection(level: Any) -> Kernel:
    """Return a level's projection as one pointwise kernel."""
    norm, conv = _parts(level.proj)
    return dense(conv).after(norm)
