"""Convolutions as arrays, and the exact algebra that joins them.

Everything here is linear, so several layers of a trained network become one: a batch norm scales
the convolution before it, pointwise convolutions multiply. Computed in float64 and rounded once, when
the graph is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fcp_export.architectures.units import SeparableConv2d, SeparableConvTranspose2d

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """A scale and an offset per channel: what a batch norm does in evaluation mode.

    Attributes
    ----------
    scale, offset : ndarray of float64, shape (C,)
    """

    scale: Array
    offset: Array


@dataclass(frozen=True)
class Kernel:
    """A "same" convolution with stride 1.

    Attributes
    ----------
    weight : ndarray of float64, shape (O, I, k, k), or (O, 1, k, k) if depthwise
    bias : ndarray of float64, shape (O,)
    dilation : int
    depthwise : bool
        Each channel on its own.
    """

    weight: Array
    bias: Array
    dilation: int = 1
    depthwise: bool = False

    @property
    def pointwise(self) -> bool:
        """Whether it mixes the channels of one pixel and nothing else."""
        return self.weight.shape[2] == 1 and not self.depthwise

    def then(self, affine: Affine) -> Kernel:
        """Return this convolution with a scale and an offset behind it."""
        weight = self.weight * affine.scale[:, None, None, None]
        return replace(self, weight=weight, bias=self.bias * affine.scale + affine.offset)

    def scaled(self, scale: Array) -> Kernel:
        """Return this convolution with a scale before it."""
        by = scale[:, None, None, None] if self.depthwise else scale[:, None, None]
        return replace(self, weight=self.weight * by)

    def after(self, affine: Affine) -> Kernel:
        """Return this pointwise convolution with a scale and an offset before it.

        Only a pointwise one: any other sees zeros, not the offset, beyond the border.
        """
        weight = self.weight * affine.scale[:, None, None]
        return replace(
            self, weight=weight, bias=self.bias + self.weight[:, :, 0, 0] @ affine.offset
        )


@dataclass(frozen=True)
class Doubling:
    """A transposed 2x2 convolution with stride 2: four independent pointwise convolutions.

    Attributes
    ----------
    weight : ndarray of float64, shape (2, 2, O, I)
        For each parity of the output's row and column.
    bias : ndarray of float64, shape (2, 2, O)
    """

    weight: Array
    bias: Array

    def then(self, affine: Affine) -> Doubling:
        """Return this doubling with a scale and an offset behind it."""
        bias = self.bias * affine.scale + affine.offset
        return Doubling(self.weight * affine.scale[:, None], bias)

    def after(self, kernel: Kernel) -> Doubling:
        """Return this doubling with a pointwise convolution before it."""
        return Doubling(
            self.weight @ kernel.weight[:, :, 0, 0], self.bias + self.weight @ kernel.bias
        )


def array(tensor: Tensor | None) -> Array:
    """Return a tensor's numbers; every convolution and batch norm here has all its tensors."""
    if tensor is None:
        raise TypeError("a layer without bias or statistics has no place in these networks")
    numbers: Array = tensor.detach().cpu().double().numpy()
    return numbers


def batch_norm(module: nn.Module) -> Affine:
    """Return what a batch norm does in evaluation mode."""
    if not isinstance(module, nn.BatchNorm2d):
        raise TypeError(f"expected a batch norm, got {module}")
    scale = array(module.weight) / np.sqrt(array(module.running_var) + module.eps)
    return Affine(scale, array(module.bias) - array(module.running_mean) * scale)


def scaling(scale: Array) -> Kernel:
    """Return a scale per channel as a depthwise convolution."""
    return shifting(Affine(scale, np.zeros_like(scale)))


def shifting(affine: Affine) -> Kernel:
    """Return a scale and an offset per channel as a depthwise convolution."""
    return Kernel(affine.scale[:, None, None, None], affine.offset, depthwise=True)


def kernels(module: nn.Module, scale: Array | None = None) -> list[Kernel]:
    """Return a convolution as the kernels to apply in turn: one, or depthwise and pointwise.

    A separable 1x1 convolution is one, because its depthwise part is a scale and an offset.

    Parameters
    ----------
    module : Conv2d or SeparableConv2d
    scale : ndarray, optional
        For each channel of the input a factor that the first kernel is to apply.
    """
    if isinstance(module, SeparableConv2d):
        first, second = _kernel(module.depthwise), _kernel(module.pointwise)
        if first.weight.shape[2] == 1:
            found = [second.after(Affine(first.weight[:, 0, 0, 0], first.bias))]
        else:
            found = [first, second]
    else:
        found = [_kernel(module)]
    return found if scale is None else [found[0].scaled(scale), *found[1:]]


def dense(module: nn.Module) -> Kernel:
    """Return a convolution, standard or separable, as one kernel."""
    first, *rest = kernels(module)
    if not rest:
        return first
    matrix = rest[0].weight[:, :, 0, 0]
    weight = matrix[:, :, None, None] * first.weight[None, :, 0]
    return Kernel(weight, rest[0].bias + matrix @ first.bias, first.dilation)


def doubling(module: nn.Module) -> Doubling:
    """Return a transposed convolution, standard or separable."""
    if isinstance(module, SeparableConvTranspose2d):
        pointwise = _kernel(module.pointwise)
        matrix: Array = pointwise.weight[:, :, 0, 0]
        each = array(module.depthwise.weight)[:, 0].transpose(1, 2, 0)  # (2, 2, I)
        weight = matrix * each[:, :, None]
        bias = pointwise.bias + matrix @ array(module.depthwise.bias)
    elif isinstance(module, nn.ConvTranspose2d):
        weight = array(module.weight).transpose(2, 3, 1, 0)
        bias = array(module.bias)
    else:
        raise TypeError(f"expected a transposed convolution, got {module}")
    return Doubling(weight, np.tile(bias, (2, 2, 1)))


def _kernel(module: nn.Module) -> Kernel:
    if not isinstance(module, nn.Conv2d):
        raise TypeError(f"expected a convolution, got {module}")
    dilation = int(module.dilation[0])
    return Kernel(array(module.weight), array(module.bias), dilation, module.groups > 1)
