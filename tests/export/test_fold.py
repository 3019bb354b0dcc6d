"""Folded layers compute what torch's layers compute one after the other."""

from __future__ import annotations

import formula
import pytest
import torch
from torch import nn

from fcp_export.architectures.units import SeparableConv2d, SeparableConvTranspose2d
from fcp_export.fold import Kernel, batch_norm, dense, doubling, kernels


def filled(module: nn.Module, name: str) -> nn.Module:
    """Return the module in evaluation mode and float64, with weights of the formula."""
    shapes = {f"{name}.{k}": tuple(v.shape) for k, v in module.state_dict().items()}
    made = {k.removeprefix(f"{name}."): v for k, v in formula.weights(shapes).items()}
    module.load_state_dict({k: torch.as_tensor(v) for k, v in made.items()})
    return module.eval().double()


def image(channels: int) -> torch.Tensor:
    return torch.from_numpy(formula.uniform("fold", (2, channels, 6, 10))).double() - 0.5


def apply(kernel: Kernel, x: torch.Tensor) -> torch.Tensor:
    return nn.functional.conv2d(
        x,
        torch.from_numpy(kernel.weight),
        torch.from_numpy(kernel.bias),
        padding=kernel.dilation * (kernel.weight.shape[2] // 2),
        dilation=kernel.dilation,
        groups=x.shape[1] if kernel.depthwise else 1,
    )


def double(up, x: torch.Tensor) -> torch.Tensor:
    out = torch.empty(len(x), up.weight.shape[2], 2 * x.shape[2], 2 * x.shape[3], dtype=x.dtype)
    for row in (0, 1):
        for col in (0, 1):
            part = torch.einsum("oi,nihw->nohw", torch.from_numpy(up.weight[row, col]), x)
            out[:, :, row::2, col::2] = part + torch.from_numpy(up.bias[row, col])[:, None, None]
    return out


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("separable", [False, True])
def test_a_batch_norm_folds_into_the_convolution_before_it(separable):
    conv = SeparableConv2d(3, 5, 3, 2) if separable else nn.Conv2d(3, 5, 3, padding=2, dilation=2)
    filled(conv, "conv")
    norm = filled(nn.BatchNorm2d(5), "norm")
    x = wanted = image(3)
    wanted = norm(conv(x))
    *first, last = kernels(conv)
    for kernel in first:
        x = apply(kernel, x)
    same(apply(last.then(batch_norm(norm)), x), wanted)


def test_a_batch_norm_folds_into_the_projection_behind_it():
    norm, conv = filled(nn.BatchNorm2d(3), "norm"), filled(SeparableConv2d(3, 5, 1), "conv")
    (kernel,) = kernels(conv)
    assert kernel.pointwise
    same(apply(kernel.after(batch_norm(norm)), image(3)), conv(norm(image(3))))


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_separable_convolution_equals_its_dense_kernel(dilation):
    conv = filled(SeparableConv2d(2, 5, 3, dilation), "conv")
    same(apply(dense(conv), image(2)), conv(image(2)))


@pytest.mark.parametrize("separable", [False, True])
def test_doubling_equals_the_transposed_convolution(separable):
    up = SeparableConvTranspose2d(3, 5) if separable else nn.ConvTranspose2d(3, 5, 2, stride=2)
    filled(up, "up")
    same(double(doubling(up), image(3)), up(image(3)))


def test_doubling_takes_in_what_is_linear_around_it():
    point = filled(nn.Conv2d(3, 4, 1), "point")
    up = filled(SeparableConvTranspose2d(4, 5), "up")
    norm = filled(nn.BatchNorm2d(5), "norm")
    (kernel,) = kernels(point)
    folded = doubling(up).after(kernel).then(batch_norm(norm))
    same(double(folded, image(3)), norm(up(point(image(3)))))


def test_layers_that_do_not_belong_are_refused():
    with pytest.raises(TypeError, match="expected a batch norm"):
        batch_norm(nn.ReLU())
    with pytest.raises(TypeError, match="expected a convolution"):
        kernels(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="without bias"):
        kernels(nn.Conv2d(2, 2, 1, bias=False))
    with pytest.raises(TypeError, match="expected a transposed"):
        doubling(nn.Conv2d(2, 2, 1))
