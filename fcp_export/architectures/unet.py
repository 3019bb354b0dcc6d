"""Half-resolution U-Nets of standard convolutions, beyond the ten networks of the thesis.

The image's 2x2 pixels become four channels, so that the widest maps have a quarter of the pixels.
Convolution, batch norm and ReLU follow in that order: norms fold into the convolutions, and onnxruntime
runs each with its ReLU as one operator. There is no style vector: a pixel depends on its surroundings
alone. U-Net: Ronneberger et al. 2015; pixels as channels: Shi et al. 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pixel_shuffle, pixel_unshuffle

REDUCTION = 2
"""Input pixels for a pixel of the finest level, along each axis."""


@dataclass(frozen=True)
class UNetSpec:
    """What tells one half-resolution U-Net from another.

    Attributes
    ----------
    key : str
        Name on the command line and in the manifest.
    title : str
        Name in tables.
    base : tuple of int
        Channels of the levels, the finest first.
    parameters : int
        The count that the network must have.
    dilation : int
        Of the second convolution of every encoder level but the finest.
    """

    key: str
    title: str
    base: tuple[int, ...]
    parameters: int
    dilation: int = 2

    @property
    def multiple(self) -> int:
        """Height and width of a tile must be multiples of it."""
        return int(REDUCTION * 2 ** (len(self.base) - 1))


def conv_bn_relu(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Return a "same" 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(outputs, momentum=0.05),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """A half-resolution U-Net.

    An encoder level is two convolutions, with 2x2 max-pooling between levels. A decoder level maps the
    coarser one to its own channels, doubles it, adds the encoder's map and convolves once.

    Parameters
    ----------
    spec : UNetSpec
    diam_mean : float
        Object diameter, in pixels, that the network expects (17 for nuclei).
    """

    diam_mean: Tensor
    diam_labels: Tensor

    def __init__(self, spec: UNetSpec, diam_mean: float = 17.0) -> None:
        super().__init__()
        self.spec = spec
        base = spec.base
        inputs = (REDUCTION**2, *base[:-1])
        self.encoder = nn.ModuleList(
            nn.Sequential(
                conv_bn_relu(before, own), conv_bn_relu(own, own, spec.dilation if level else 1)
            )
            for level, (before, own) in enumerate(zip(inputs, base, strict=True))
        )
        self.lateral = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(base))
        self.decoder = nn.ModuleList(conv_bn_relu(own, own) for own in base[:-1])
        self.head = nn.Conv2d(base[0], 3 * REDUCTION**2, 3, padding=1)
        # parameters, as in Cellpose's networks; never trained
        self.diam_mean = nn.Parameter(torch.tensor([diam_mean]), requires_grad=False)
        self.diam_labels = nn.Parameter(torch.tensor([diam_mean]), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """Predict flows and logit.

        Parameters
        ----------
        image : Tensor, shape (N, 2, H, W)
            Nuclei with percentiles 1 and 99 at 0 and 1, then zeros, which are not looked at. H and W
            are multiples of ``spec.multiple``.

        Returns
        -------
        Tensor, shape (N, 3, H, W)
            Flow y, flow x (a unit vector is 5), cell-probability logit.
        """
        x = pixel_unshuffle(image[:, :1], REDUCTION)
        maps: list[Tensor] = []
        for level in self.encoder:
            x = level(max_pool2d(x, 2) if maps else x)
            maps.append(x)
        for index in reversed(range(len(self.decoder))):
            enlarged = interpolate(self.lateral[index](x), scale_factor=2, mode="nearest")
            x = self.decoder[index](enlarged + maps[index])
        return pixel_shuffle(self.head(x), REDUCTION)
