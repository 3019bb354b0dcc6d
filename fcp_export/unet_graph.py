"""A trained half-resolution U-Net as an ONNX graph: norms folded, no operator but what it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fcp_export.architectures.unet import REDUCTION
from fcp_export.fold import batch_norm, kernels
from fcp_export.graph import GraphWriter, Map

if TYPE_CHECKING:
    from fcp_export.architectures.unet import UNet
    from fcp_export.fold import Array, Kernel


def write_unet(net: UNet) -> GraphWriter:
    """Return the graph of a network in evaluation mode.

    Levels of maps count halvings of the input, so that the finest level of the network is 1.
    """
    graph = GraphWriter()
    encoder: Any = net.encoder
    maps: list[Map] = []
    for index, (first, second) in enumerate(encoder):
        if index == 0:
            x = graph.strided(*strided_weight(_folded(first)), "down0.conv0")
        else:
            x = graph.pooled(maps[-1], f"down{index}.pool")
            x = graph.convolution(x, _folded(first), f"down{index}.conv0", relu=True)
        maps.append(graph.convolution(x, _folded(second), f"down{index}.conv1", relu=True))
    x = maps[-1]
    decoder: Any = net.decoder
    lateral: Any = net.lateral
    for index in reversed(range(len(decoder))):
        (mix,) = kernels(lateral[index])
        x = graph.convolution(x, mix, f"up{index}.lateral")
        x = graph.enlarged(x, index + 1, f"up{index}.enlarged")
        x = graph.added(x, maps[index], f"up{index}.sum")
        x = graph.convolution(x, _folded(decoder[index]), f"up{index}.conv", relu=True)
    (head,) = kernels(net.head)
    graph.unfolded(graph.convolution(x, head, "head"), REDUCTION, "fields")
    return graph


def strided_weight(kernel: Kernel) -> tuple[Array, Array]:
    """Return a 3x3 convolution of 2x2 pixels as channels as one of the image, 6x6 with stride 2.

    Returns
    -------
    weight : ndarray of float64, shape (O, 1, 6, 6)
    bias : ndarray of float64, shape (O,)
    """
    outputs = len(kernel.bias)
    weight = kernel.weight.reshape(outputs, REDUCTION, REDUCTION, 3, 3)
    return weight.transpose(0, 3, 1, 4, 2).reshape(outputs, 1, 6, 6), kernel.bias


def _folded(unit: Any) -> Kernel:
    """Return a convolution with the batch norm behind it."""
    (kernel,) = kernels(unit[0])
    return kernel.then(batch_norm(unit[1]))
