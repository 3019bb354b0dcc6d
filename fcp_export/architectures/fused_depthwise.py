"""Batch norm, ReLU and depthwise convolution of a training step in one: few passes over memory.

A separable network is bound by memory, in training too, and torch writes and reads a map for each
of the three, with kernels for depthwise gradients that are far slower than memory. Here the
activated map is never stored: its rows are made from the input where they are needed, forwards and
backwards. Rows lie channels last, so that every loop runs over a whole row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fcp_runtime.machine.kernels import kernel
from fcp_runtime.machine.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


QUIET = np.errstate(over="ignore", invalid="ignore")
"""A gradient that is not finite is no error here: the training loop leaves its step out."""


def fused_depthwise(x: Tensor, norm: nn.BatchNorm2d, depthwise: nn.Conv2d, floor: float) -> Tensor:
    """Return ``depthwise(max(norm(x), floor))`` as in training, with gradients for all of it.

    Running statistics move as `torch.nn.BatchNorm2d` moves them.

    Parameters
    ----------
    x : Tensor of float32, shape (N, C, H, W)
    norm : BatchNorm2d
    depthwise : Conv2d
        In C groups, "same", with bias.
    floor : float
        0 is ReLU, minus infinity no activation.

    Returns
    -------
    Tensor of float32, shape (N, C, H, W)
        Channels last.
    """
    out, mean, variance = _ActiveDepthwise.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.bias, depthwise.weight, depthwise.bias,
        norm.eps, floor, int(depthwise.dilation[0]),
    )  # fmt: skip
    assert norm.running_mean is not None  # noqa: S101
    assert norm.running_var is not None  # noqa: S101
    assert norm.num_batches_tracked is not None  # noqa: S101
    assert norm.momentum is not None  # noqa: S101
    count = x.numel() // x.shape[1]
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum)
        norm.num_batches_tracked += 1
    return out  # type: ignore[no-any-return]


class _ActiveDepthwise(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor,
        offset: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        floor: float,
        dilation: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = _rows(x)
        channels = x.shape[1]
        mean, variance = _moments(rows, channels)
        inverse = 1 / np.sqrt(variance + eps)
        scale = gain.detach().numpy() * inverse
        shift = offset.detach().numpy() - mean * scale
        width = x.shape[3]
        taps = weight.detach().numpy().reshape(channels, -1).T
        out = np.empty_like(rows)
        tiled = _tiled(scale, width), _tiled(shift, width), _tiled(taps, width)
        start = _tiled(bias.detach().numpy(), width)
        _each(
            lambda n: _convolve(
                rows[n], *tiled, start, np.float32(floor), dilation, channels, out[n]
            ),
            len(rows),
        )
        ctx.save_for_backward(x, weight)
        ctx.known = (mean, inverse, scale, shift, floor, dilation)
        moments = _numbers(mean), _numbers(variance)
        ctx.mark_non_differentiable(*moments)
        return _maps(out, channels), *moments

    @staticmethod
    @QUIET
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        mean, inverse, scale, shift, floor, dilation = ctx.known
        rows, outer = _rows(x), _rows(gradients[0].float())
        channels, width = x.shape[1], x.shape[3]
        taps = weight.detach().numpy().reshape(channels, -1).T
        inner = np.empty_like(rows)
        tiled = _tiled(scale, width), _tiled(shift, width), _tiled(taps, width)
        sums = np.zeros((len(rows), len(taps) + 3, rows.shape[2]), np.float32)
        _each(
            lambda n: _gather(
                rows[n], outer[n], *tiled, np.float32(floor), dilation, channels, inner[n], sums[n]
            ),
            len(rows),
        )
        total = sums.reshape(len(rows), len(taps) + 3, width, channels).sum((0, 2), np.float64)
        for_weight, (for_bias, plain, weighted) = total[: len(taps)], total[len(taps) :]
        for_gain = inverse * (weighted - mean * plain)
        count = x.numel() // channels
        slope = -scale * inverse * for_gain / count
        level = -scale * plain / count - slope * mean
        _each(
            lambda n: _combine(
                rows[n], _tiled(scale, width), _tiled(slope, width), _tiled(level, width), inner[n]
            ),
            len(rows),
        )
        return (
            _maps(inner, channels),
            _numbers(for_gain),
            _numbers(plain),
            _numbers(for_weight.T).reshape(weight.shape),
            _numbers(for_bias),
            None,
            None,
            None,
        )


def _rows(x: Tensor) -> Floats:
    """Return (N, C, H, W) as rows (N, H, W C), without a copy if it is channels last."""
    last = x.detach().permute(0, 2, 3, 1).contiguous()
    return last.view(last.shape[0], last.shape[1], -1).numpy()


def _maps(rows: Floats, channels: int) -> Tensor:
    """Return rows (N, H, W C) as (N, C, H, W), channels last."""
    return torch.from_numpy(rows.reshape(*rows.shape[:2], -1, channels)).permute(0, 3, 1, 2)


def _numbers(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _tiled(values: NDArray[Any], width: int) -> Floats:
    """Repeat numbers per channel (..., C) for each pixel of a row, (..., W C)."""
    return np.tile(values.astype(np.float32), width)


def _each(work: Callable[[int], None], count: int) -> None:
    """Work through the samples of a batch, in as many threads as torch has."""
    threads = torch.get_num_threads()
    if threads == 1:
        for index in range(count):
            work(index)
    else:
        Workers(threads).map(work, range(count))


@QUIET
def _moments(rows: Floats, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of each channel; samples are joined exactly, not by squares."""
    sums = np.zeros((len(rows), 2, rows.shape[2]), np.float32)
    _each(lambda n: _sum_up(rows[n], channels, sums[n]), len(rows))
    size = rows.shape[1] * rows.shape[2] // channels
    total = sums.reshape(len(rows), 2, -1, channels).sum(2, np.float64)
    means = total[:, 0] / size
    mean = means.mean(0)
    return mean, (total[:, 1] / size).mean(0) + np.square(means - mean).mean(0)


@kernel
def _sum_up(x: Floats, channels: int, sums: Floats) -> None:
    """Add rows (H, W C), then the squares of their distance from the channel's mean."""
    for y in range(x.shape[0]):
        for j in range(x.shape[1]):
            sums[0, j] += x[y, j]
    width = x.shape[1] // channels
    mean = np.zeros(x.shape[1], np.float32)
    for c in range(channels):
        total = 0.0
        for column in range(width):
            total += sums[0, column * channels + c]
        for column in range(width):
            mean[column * channels + c] = total / (width * x.shape[0])
    for y in range(x.shape[0]):
        for j in range(x.shape[1]):
            distance = x[y, j] - mean[j]
            sums[1, j] += distance * distance


@kernel
def _activate(x: Floats, scale: Floats, shift: Floats, floor: np.float32, out: Floats) -> None:
    for j in range(x.shape[0]):
        out[j] = max(floor, scale[j] * x[j] + shift[j])


@kernel
def _convolve(
    x: Floats,
    scale: Floats,
    shift: Floats,
    taps: Floats,
    bias: Floats,
    floor: np.float32,
    dilation: int,
    channels: int,
    out: Floats,
) -> None:
    """Convolve the activated rows of one sample, (H, W C); all numbers are per place in a row."""
    height, length = x.shape
    side = 3 if taps.shape[0] == 9 else 1
    reach = dilation * (side // 2)
    kept = 2 * reach + 1
    step = reach * channels
    inside = slice(step, step + length)
    active = np.zeros((kept, length + 2 * step), np.float32)  # 0 beyond the border
    for y in range(min(reach, height)):
        _activate(x[y], scale, shift, floor, active[y % kept, inside])
    for y in range(height):
        ahead = y + reach
        if ahead < height:
            _activate(x[ahead], scale, shift, floor, active[ahead % kept, inside])
        row = out[y]
        row[:] = bias
        for line in range(side):
            source = y + dilation * line - reach
            if 0 <= source < height:
                wide = active[source % kept]
                if side == 1:
                    _add_product(taps[0], wide, row)
                else:
                    _add_products(taps[3 * line : 3 * line + 3], wide, step, row)


@kernel
def _add_product(taps: Floats, a: Floats, out: Floats) -> None:
    for j in range(out.shape[0]):
        out[j] += taps[j] * a[j]


@kernel
def _add_products(taps: Floats, wide: Floats, step: int, out: Floats) -> None:
    """Add what three taps see, ``step`` apart."""
    length = out.shape[0]
    first, second, third = taps[0], taps[1], taps[2]
    a, b, c = wide[:length], wide[step : step + length], wide[2 * step : 2 * step + length]
    for j in range(length):
        out[j] += first[j] * a[j] + second[j] * b[j] + third[j] * c[j]


@kernel
def _gather(
    x: Floats,
    outer: Floats,
    scale: Floats,
    shift: Floats,
    taps: Floats,
    floor: np.float32,
    dilation: int,
    channels: int,
    inner: Floats,
    sums: Floats,
) -> None:
    """Lead gradients (H, W C) back through convolution and activation.

    ``sums`` grows by what belongs to each tap, then by the sums over rows of ``outer``, of
    ``inner`` and of ``inner x``.
    """
    height, length = x.shape
    count = taps.shape[0]
    side = 3 if count == 9 else 1
    reach = dilation * (side // 2)
    kept = 2 * reach + 1
    step = reach * channels
    inside = slice(step, step + length)
    padded = np.zeros((kept, length + 2 * step), np.float32)
    mirrored = np.empty_like(taps)  # along the row
    for tap in range(count):
        mirrored[tap] = taps[tap + side - 1 - 2 * (tap % side)]
    active = np.empty(length, np.float32)
    for y in range(min(reach, height)):
        padded[y % kept, inside] = outer[y]
    for y in range(height):
        ahead = y + reach
        if ahead < height:
            padded[ahead % kept, inside] = outer[ahead]
        _activate(x[y], scale, shift, floor, active)
        row = inner[y]
        row[:] = 0
        for line in range(side):
            source = y - dilation * line + reach
            if 0 <= source < height:
                wide = padded[source % kept]
                if side == 1:
                    _add_product(mirrored[0], wide, row)
                    _add_product(active, wide, sums[0])
                else:
                    _add_products(mirrored[3 * line : 3 * line + 3], wide, step, row)
                    for tap in range(3):
                        seen = wide[(2 - tap) * step : (2 - tap) * step + length]
                        _add_product(active, seen, sums[3 * line + tap])
        _silence(active, floor, row)
        _add(outer[y], sums[count])
        _add(row, sums[count + 1])
        _add_product(row, x[y], sums[count + 2])


@kernel
def _silence(active: Floats, floor: np.float32, row: Floats) -> None:
    """Set to zero what the activation cut off."""
    for j in range(row.shape[0]):
        row[j] = row[j] if active[j] > floor else np.float32(0)


@kernel
def _add(a: Floats, out: Floats) -> None:
    for j in range(out.shape[0]):
        out[j] += a[j]


@kernel
def _combine(x: Floats, scale: Floats, slope: Floats, level: Floats, inner: Floats) -> None:
    """Lead gradients through the batch norm: ``scale inner + slope x + level``, in place."""
    for y in range(x.shape[0]):
        for j in range(x.shape[1]):
            inner[y, j] = scale[j] * inner[y, j] + slope[j] * x[y, j] + level[j]
