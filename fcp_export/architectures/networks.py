"""The ten networks of the thesis and those beyond it as one table of specifications.

Source of the ten: thesis, section 3.3 and table 3.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fcp_export.architectures.unet import UNet, UNetSpec
from fcp_export.architectures.units import (
    StyleUnit,
    bn_relu_conv,
    projection,
    style_vector,
    transposed_convolution,
)

Level = Literal["full", "compressed", "plain"]
Up = Literal["nearest", "interleaved", "transposed"]

FULL_BASE = (32, 64, 128, 256)
HALF_BASE = (16, 32, 64, 128)


@dataclass(frozen=True)
class Spec:
    """What tells one network from another.

    Attributes
    ----------
    key : str
        Name on the command line and in the manifest.
    title : str
        Name in tables.
    encoder, decoder : {"full", "compressed", "plain"}
        Four convolutions a level, two with a residual sum, or two without.
    up : {"nearest", "interleaved", "transposed"}
        How a decoder level doubles height and width.
    separable : bool
        Depthwise separable convolutions in place of standard ones.
    base : tuple of int
        Channels of the four levels, the finest first.
    dilation : int
        Dilation of the second convolution of an encoder level.
    idle_projection : bool
        A projection is allocated in each encoder level, but not used (v3).
    parameters : int
        The count that the network must have.
    """

    key: str
    title: str
    encoder: Level
    decoder: Level
    up: Up
    separable: bool
    base: tuple[int, int, int, int]
    parameters: int
    dilation: int = 1
    idle_projection: bool = False

    @property
    def multiple(self) -> int:
        """Height and width of a tile must be multiples of it: three poolings by 2."""
        return 8


SPECS: dict[str, Spec | UNetSpec] = {
    spec.key: spec
    for spec in (
        Spec("cellpose", "Cellpose", "full", "full", "nearest", False, FULL_BASE, 6_600_845),
        Spec("dilated", "Dilated Cellpose", "compressed", "full", "nearest", False, FULL_BASE, 5_031_245, 2),
        Spec("upsample", "Upsample Cellpose", "full", "compressed", "interleaved", False, FULL_BASE, 5_133_165),
        Spec("compressed", "Compressed Cellpose", "compressed", "compressed", "interleaved", False, FULL_BASE, 3_563_565, 2),
        Spec("separable", "Separable Cellpose", "full", "full", "nearest", True, FULL_BASE, 1_250_021),
        Spec("compressed-separable", "Compressed separable Cellpose", "compressed", "compressed", "interleaved", True, FULL_BASE, 720_101, 2),
        Spec("fastcellpose", "FastCellpose", "plain", "plain", "transposed", False, HALF_BASE, 564_809),
        Spec("v1", "FasterCellpose v1", "full", "full", "nearest", True, HALF_BASE, 326_533),
        Spec("v2", "FasterCellpose v2", "compressed", "compressed", "interleaved", True, HALF_BASE, 188_293, 2),
        Spec("v3", "FasterCellpose v3", "plain", "plain", "transposed", True, HALF_BASE, 116_693, 2, True),
        UNetSpec("v4", "FasterCellpose v4", (16, 32, 64, 128), 355_950),
    )
}  # fmt: skip
"""All networks, by key: the ten of the thesis in the order of table 3.5, then those beyond it."""


class EncoderLevel(nn.Module):
    """Two or four convolutions, with or without residual sums."""

    def __init__(self, spec: Spec, inputs: int, outputs: int) -> None:
        super().__init__()
        self.level = spec.encoder
        self.conv = nn.Sequential()
        for index in range(4 if spec.encoder == "full" else 2):
            unit = bn_relu_conv(
                inputs if index == 0 else outputs,
                outputs,
                3,
                separable=spec.separable,
                dilation=spec.dilation if index == 1 else 1,
            )
            self.conv.add_module(f"conv_{index}", unit)
        if spec.encoder != "plain" or spec.idle_projection:
            self.proj = projection(inputs, outputs, separable=spec.separable)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        branch: Tensor = self.conv[1](self.conv[0](x))
        if self.level == "plain":
            return branch
        x = self.proj(x) + branch
        return x + self.conv[3](self.conv[2](x)) if self.level == "full" else x


class ResidualDecoderLevel(nn.Module):
    """Projection beside convolutions that see the skip map and the style (full or compressed)."""

    def __init__(self, spec: Spec, inputs: int, outputs: int, styles: int) -> None:
        super().__init__()
        self.level = spec.decoder
        self.conv = nn.Sequential()
        self.conv.add_module("conv_0", bn_relu_conv(inputs, outputs, 3, separable=spec.separable))
        for index in range(1, 4 if spec.decoder == "full" else 2):
            unit = StyleUnit(outputs, outputs, styles, separable=spec.separable)
            self.conv.add_module(f"conv_{index}", unit)
        self.proj = projection(inputs, outputs, separable=spec.separable)

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        x = self.proj(x) + self.conv[1](self.conv[0](x), style, skip)
        return x + self.conv[3](self.conv[2](x, style), style) if self.level == "full" else x


class PlainDecoderLevel(nn.Module):
    """A transposed convolution (but at the deepest level), then one style unit with the skip map."""

    def __init__(
        self, spec: Spec, inputs: int, outputs: int, styles: int, *, deepest: bool
    ) -> None:
        super().__init__()
        if not deepest:
            self.up = transposed_convolution(inputs, outputs, separable=spec.separable)
        self.deepest = deepest
        self.conv = nn.Sequential()
        self.conv.add_module(
            "conv_0", StyleUnit(outputs, outputs, styles, separable=spec.separable)
        )

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2 H, 2 W), or to the same size at the deepest."""
        if not self.deepest:
            x = self.up(x)
        return self.conv[0](x, style, skip)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Four levels with 2x2 max-pooling between them."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, 2)
        self.down = nn.Sequential()
        for index, outputs in enumerate(spec.base):
            inputs = 2 if index == 0 else spec.base[index - 1]
            self.down.add_module(f"res_down_{index}", EncoderLevel(spec, inputs, outputs))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of the four levels, the finest first."""
        maps = [self.down[0](x)]
        for level in list(self.down)[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps


class Decoder(nn.Module):
    """Four levels from the deepest to the finest."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        outputs = spec.base
        inputs = (*outputs[1:], outputs[3])
        self.up = nn.Sequential()
        for index in range(4):
            level: nn.Module
            if spec.decoder == "plain":
                level = PlainDecoderLevel(
                    spec, inputs[index], outputs[index], outputs[3], deepest=index == 3
                )
            else:
                level = ResidualDecoderLevel(spec, inputs[index], outputs[index], outputs[3])
            self.up.add_module(f"res_up_{index}", level)
        self.doubling = nn.ModuleDict()
        if spec.up == "interleaved":  # one a level is allocated and counted, one is used
            for index, channels in enumerate(outputs):
                unit = transposed_convolution(channels, channels, separable=spec.separable)
                self.doubling[str(index)] = unit
        self.spec = spec

    def enlarge(self, x: Tensor, index: int) -> Tensor:
        """Double height and width on the way to level ``index``."""
        if self.spec.up == "interleaved" and index % 2 == 1:
            unit = self.doubling[str(index + 1)]  # of the level that x comes from
            return unit(x)  # type: ignore[no-any-return]
        return nn.functional.interpolate(x, scale_factor=2, mode="nearest")

    def forward(self, maps: list[Tensor], style: Tensor) -> Tensor:
        """Map the encoder's maps and the style to (N, B[0], H, W)."""
        x: Tensor = self.up[3](maps[3], maps[3], style)
        for index in (2, 1, 0):
            if self.spec.up != "transposed":
                x = self.enlarge(x, index)
            x = self.up[index](x, maps[index], style)
        return x


class CellposeNet(nn.Module):
    """One of the ten networks.

    Parameters
    ----------
    spec : Spec
        A row of `SPECS`.
    diam_mean : float
        Object diameter, in pixels, that the network expects (17 for nuclei).
    """

    diam_mean: Tensor
    diam_labels: Tensor

    def __init__(self, spec: Spec, diam_mean: float = 17.0) -> None:
        super().__init__()
        self.spec = spec
        self.downsample = Encoder(spec)
        self.upsample = Decoder(spec)
        self.output = bn_relu_conv(spec.base[0], 3, 1, separable=spec.separable)
        # parameters, as in Cellpose, so that the published counts hold; never trained
        self.diam_mean = nn.Parameter(torch.tensor([diam_mean]), requires_grad=False)
        self.diam_labels = nn.Parameter(torch.tensor([diam_mean]), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """Predict flows and logit.

        Parameters
        ----------
        image : Tensor, shape (N, 2, H, W)
            Nuclei with percentiles 1 and 99 at 0 and 1, then zeros. H and W multiples of 8.

        Returns
        -------
        Tensor, shape (N, 3, H, W)
            Flow y, flow x (a unit vector is 5), cell-probability logit.
        """
        maps = self.downsample(image)
        style = style_vector(maps[-1]).to(maps[-1].dtype)
        return self.output(self.upsample(maps, style))  # type: ignore[no-any-return]


Network = CellposeNet | UNet
"""A network of the table, ready to be trained or exported."""


def build(key: str, diam_mean: float = 17.0) -> Network:
    """Return the network of that key with Kaiming-initialised convolutions (thesis, 3.3.2)."""
    spec = SPECS[key]
    net: Network
    net = UNet(spec, diam_mean) if isinstance(spec, UNetSpec) else CellposeNet(spec, diam_mean)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net
