"""Parameters and multiply-accumulates of a network, counted without computing anything."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fcp_export.architectures.networks import build


def count_parameters(net: nn.Module) -> int:
    """Return the number of parameters, the two diameter constants included."""
    return sum(parameter.numel() for parameter in net.parameters())


@torch.inference_mode()
def count_macs(key: str, edge: int = 1024) -> int:
    """Return the multiply-accumulates of the convolutions and linear layers of a network.

    Parameters
    ----------
    key : str
        Of the network.
    edge : int
        The input is one square image of this edge, with its second channel.

    Returns
    -------
    int
        As the network is trained; what `fcp_export.export` folds together is not taken off.
    """
    with torch.device("meta"):  # shapes only: no memory, no arithmetic
        net = build(key).eval()
        image = torch.empty(1, 2, edge, edge)
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        layer: Any = module
        if isinstance(module, nn.ConvTranspose2d):  # each input pixel reaches a whole kernel
            total += inputs[0].numel() * layer.weight[0].numel()
        elif isinstance(module, nn.Conv2d):
            total += output.numel() * layer.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * layer.in_features

    for module in net.modules():
        module.register_forward_hook(count)
    net(image)
    return total
