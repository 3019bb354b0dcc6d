"""A training step's batch norm, ReLU and depthwise convolution against torch's own."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fcp_export.architectures.fused_depthwise import fused_depthwise
from fcp_export.architectures.networks import SPECS, build
from fcp_export.architectures.units import ActiveConv, bn_relu_conv, projection


def parts(channels, side, dilation):
    norm = nn.BatchNorm2d(channels, momentum=0.05)
    nn.init.uniform_(norm.weight, -1, 1.5)  # a scale may be negative
    nn.init.normal_(norm.bias)
    padding = dilation * (side // 2)
    conv = nn.Conv2d(channels, channels, side, padding=padding, dilation=dilation, groups=channels)
    return norm, conv


def close(found, wanted):
    largest = float(wanted.detach().abs().max())
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=2e-5 * largest)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 12), st.integers(2, 12)),
    side=st.sampled_from([1, 3]),
    dilation=st.integers(1, 3),
    relu=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_values_gradients_and_running_statistics_are_those_of_torch(
    shape, side, dilation, relu, last, seed
):
    torch.manual_seed(seed)
    norm, conv = parts(shape[1], side, dilation)
    ours = deepcopy((norm, conv))
    x = 3 + 2 * torch.randn(shape)
    if last:
        x = x.to(memory_format=torch.channels_last)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    normed = norm(one)
    wanted = conv(normed.relu() if relu else normed)
    found = fused_depthwise(two, *ours, 0.0 if relu else -math.inf)
    close(found, wanted)
    upstream = torch.randn(shape)
    expected = torch.autograd.grad(wanted, [one, *norm.parameters(), *conv.parameters()], upstream)
    learnt = [two, *ours[0].parameters(), *ours[1].parameters()]
    gradients = torch.autograd.grad(found, learnt, upstream)
    largest = max(float(gradient.abs().max()) for gradient in expected)
    for mine, its in zip(gradients, expected, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4 * largest)
    for mine, its in zip(ours[0].buffers(), norm.buffers(), strict=True):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("make", [bn_relu_conv, projection])
def test_a_separable_unit_computes_the_same_in_training_as_its_layers(make):
    torch.manual_seed(0)
    sides = (3,) if make is bn_relu_conv else ()
    unit = make(6, 5, *sides, separable=True).train()
    assert isinstance(unit, ActiveConv)
    x = torch.randn(2, 6, 10, 11)
    close(unit(x), nn.Sequential.forward(deepcopy(unit), x))


@pytest.mark.parametrize(
    "key", [key for key, spec in SPECS.items() if getattr(spec, "separable", False)]
)
def test_a_whole_network_learns_as_with_torchs_layers(key, monkeypatch):
    torch.manual_seed(0)
    ours = build(key).train()
    its = deepcopy(ours)
    image = torch.randn(2, 2, 32, 40)
    found = ours(image)
    found.square().mean().backward()
    monkeypatch.setattr(ActiveConv, "forward", nn.Sequential.forward)
    wanted = its(image)
    wanted.square().mean().backward()
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    mine = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    theirs = {name: p.grad for name, p in its.named_parameters() if p.grad is not None}
    assert mine.keys() == theirs.keys()
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-2, atol=1e-3 * largest)


def test_the_number_of_threads_changes_no_bit():
    torch.manual_seed(0)
    norm, conv = parts(8, 3, 2)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        x = torch.linspace(-1, 2, 3 * 8 * 16 * 16).reshape(3, 8, 16, 16).requires_grad_()
        out = fused_depthwise(x, norm, conv, 0.0)
        (gradient,) = torch.autograd.grad(out.square().sum(), x)
        results.append((out.detach().numpy(), gradient.numpy()))
    torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_half_precision_around_it_is_left_outside():
    torch.manual_seed(0)
    norm, conv = parts(4, 3, 1)
    x = torch.randn(2, 4, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = fused_depthwise(x.bfloat16(), norm, conv, 0.0)
    assert found.dtype == torch.float32
