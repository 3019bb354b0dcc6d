"""The few building blocks that all ten networks share.

Names of submodules follow Cellpose's checkpoints (``conv.conv_0.0.weight`` and so on), so that a
teacher loads without renaming; only the separable convolutions add a level (``depthwise``,
``pointwise``).

Source: Stringer et al. 2021 (Cellpose, methods); thesis, sections 3.3.1 to 3.3.6.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from fcp_export.architectures.fused_depthwise import fused_depthwise


class SeparableConv2d(nn.Module):
    """Depthwise convolution, then a pointwise one, both with bias (thesis, section 3.3.4).

    With ``kernel_size`` 1 the depthwise part is a scale and an offset per channel.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.depthwise = nn.Conv2d(
            inputs, inputs, kernel_size, padding=padding, dilation=dilation, groups=inputs
        )
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.pointwise(self.depthwise(x))  # type: ignore[no-any-return]


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return a pointwise convolution as the matrix product that it is with channels last.

    In one thread torch's convolution would copy the map to channels first and back.
    """
    return linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


class ActiveConv(nn.Sequential):
    """Batch norm, ReLU (or none) and a separable convolution; in training few passes over memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        if not self.training:
            out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return out
        norm: Any = self[0]
        conv: Any = self[-1]
        floor = 0.0 if len(self) == 3 else -math.inf
        mixed = fused_depthwise(x, norm, conv.depthwise, floor)
        return _product(mixed, conv.pointwise.weight[:, :, 0, 0], conv.pointwise.bias)


class SeparableConvTranspose2d(nn.Module):
    """Transposed 2x2 convolution per channel, then a pointwise one (thesis, section 3.3.5).

    In training both are one pointwise convolution to four times the channels, whose outputs are
    laid out as 2x2 pixels: the same sums, without torch's slow path for transposed convolutions in
    groups, and without a map of the inputs' channels at the larger size.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.ConvTranspose2d(inputs, inputs, 2, stride=2, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""
        if not self.training:
            return self.pointwise(self.depthwise(x))  # type: ignore[no-any-return]
        mix = self.pointwise.weight[:, :, 0, 0]
        spread = self.depthwise.weight[:, 0].permute(1, 2, 0)
        weight = (spread[:, :, None] * mix).reshape(-1, mix.shape[1])
        assert self.depthwise.bias is not None  # noqa: S101
        assert self.pointwise.bias is not None  # noqa: S101
        bias = mix @ self.depthwise.bias + self.pointwise.bias
        count, _, height, width = x.shape
        blocks = linear(x.permute(0, 2, 3, 1), weight, bias.repeat(4))
        blocks = blocks.reshape(count, height, width, 2, 2, -1).transpose(2, 3)
        return blocks.reshape(count, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def convolution(
    inputs: int, outputs: int, kernel_size: int, *, separable: bool, dilation: int = 1
) -> nn.Module:
    """Return a "same" convolution with bias, standard or separable."""
    if separable:
        return SeparableConv2d(inputs, outputs, kernel_size, dilation)
    padding = dilation * (kernel_size // 2)
    return nn.Conv2d(inputs, outputs, kernel_size, padding=padding, dilation=dilation)


def transposed_convolution(inputs: int, outputs: int, *, separable: bool) -> nn.Module:
    """Return a transposed convolution that doubles height and width, standard or separable."""
    if separable:
        return SeparableConvTranspose2d(inputs, outputs)
    return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)


def bn_relu_conv(
    inputs: int, outputs: int, kernel_size: int, *, separable: bool, dilation: int = 1
) -> nn.Sequential:
    """Return the unit of Cellpose: batch norm, ReLU, convolution."""
    unit = ActiveConv if separable else nn.Sequential
    return unit(
        nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.05),
        nn.ReLU(inplace=True),
        convolution(inputs, outputs, kernel_size, separable=separable, dilation=dilation),
    )


def projection(inputs: int, outputs: int, *, separable: bool) -> nn.Sequential:
    """Return the residual projection: batch norm, 1x1 convolution."""
    unit = ActiveConv if separable else nn.Sequential
    return unit(
        nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.05),
        convolution(inputs, outputs, 1, separable=separable),
    )


class StyleUnit(nn.Module):
    """Add the skip map (if any) and the projected style, then a ``bn_relu_conv``."""

    def __init__(self, inputs: int, outputs: int, styles: int, *, separable: bool) -> None:
        super().__init__()
        self.conv = bn_relu_conv(inputs, outputs, 3, separable=separable)
        self.full = nn.Linear(styles, inputs)

    def forward(self, x: Tensor, style: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map (N, inputs, H, W) and the style (N, styles) to (N, outputs, H, W)."""
        if skip is not None:
            x = x + skip
        return self.conv(x + self.full(style)[:, :, None, None])  # type: ignore[no-any-return]


def style_vector(deepest: Tensor) -> Tensor:
    """Return the global average of the deepest map over its L2 norm, (N, B[3]).

    In float32 and with a small epsilon: half precision would overflow or divide by zero.
    """
    mean = deepest.float().mean((2, 3))
    return mean * torch.rsqrt(mean.square().sum(1, keepdim=True) + 1e-12)
