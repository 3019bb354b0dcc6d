"""Checkpoints in Cellpose's format, and a teacher's output maps for whole images."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fcp_export.architectures.networks import Network, build
from fcp_runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TILE = 384
"""Edge of the tiles a teacher sees, in network pixels: its style is a mean over such a tile."""

DOUBLING = "upsample.doubling."
"""How the names of transposed convolutions begin."""

MARGIN = 48
"""Pixels on each side of a tile that are computed but not kept, where a neighbour has them."""


def load_cellpose(path: Path, key: str = "cellpose") -> Network:
    """Load a checkpoint with Cellpose's key names into the network ``key``.

    Parameters
    ----------
    path : Path
        A torch file holding a plain state dict; half precision is converted to float32.
    key : str
        ``"cellpose"``, or ``"dilated"`` to use the teacher's weights without distillation
        (thesis, section 3.3.1), see `from_cellpose`.

    Returns
    -------
    Network
        In evaluation mode. Without ``diam_mean`` in the file it is Cellpose's 30.

    Raises
    ------
    ModelError
        If the file is missing, is no checkpoint or belongs to another network.
    """
    return from_cellpose(load_state(path), key, name=str(path))


def load_state(path: Path) -> dict[str, Tensor]:
    """Load a torch file that holds a plain state dict.

    Raises
    ------
    ModelError
        If the file is missing or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such checkpoint; give the path of a Cellpose model") from None
    except Exception as error:  # bytes that are no checkpoint fail in ever new ways
        raise ModelError(f"{path}: not a torch checkpoint ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"{path}: not a plain state dict of tensors; save model.state_dict()")
    return state


def from_cellpose(state: Mapping[str, Tensor], key: str, *, name: str) -> Network:
    """Return network ``key`` with the weights of a Cellpose state dict, in evaluation mode.

    Entries may be left over in the two networks that are parts of Cellpose's, ``"dilated"`` and
    ``"upsample"``. The latter has transposed convolutions of its own: see `with_new_doubling`.

    Raises
    ------
    ModelError
        If entries are missing, unknown or of another shape.
    """
    net = build(key, diam_mean=30.0)
    floats = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    for constant in ("diam_mean", "diam_labels"):
        floats.setdefault(constant, getattr(net, constant).detach())
        floats[constant] = floats[constant].reshape(1)
    wanted = net.state_dict()
    wrong = [k for k, v in wanted.items() if k not in floats or floats[k].shape != v.shape]
    if key == "upsample" and wrong and all(k.startswith(DOUBLING) for k in wrong):
        raise ModelError(
            f"{name}: lacks transposed convolutions of the upsample network ({', '.join(wrong)}); "
            "training may start from it: fcp-distill student --student upsample --init"
        )
    extra = [] if key in {"dilated", "upsample"} else [k for k in floats if k not in wanted]
    if wrong or extra:
        raise ModelError(
            f"{name}: not a checkpoint of the {key} network "
            f"({len(wrong)} entries missing or of another shape, {len(extra)} unknown, "
            f"first {(wrong + extra)[0]})"
        )
    net.load_state_dict({k: floats[k] for k in wanted})
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval()


def with_new_doubling(state: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """Return a state dict from which training can start: Cellpose's has no transposed convolutions.

    For ``"upsample"`` those that are missing are as initialised; other networks lack nothing.
    """
    if key != "upsample":
        return dict(state)
    fresh = build(key, diam_mean=30.0).state_dict()
    return {k: v for k, v in fresh.items() if k.startswith(DOUBLING)} | dict(state)


def to_cellpose(net: Network) -> dict[str, Tensor]:
    """Return the network's state dict under the names that Cellpose 3.1 loads, float32."""
    return {k: v.detach().clone() for k, v in net.state_dict().items()}


@torch.inference_mode()
def teacher_maps(net: Network, image: Tensor) -> Tensor:
    """Run a teacher over one image at network scale.

    Parameters
    ----------
    net : Network
        In evaluation mode.
    image : Tensor of float32, shape (H, W)
        Normalised; any size. Reflected to a multiple of 8, cut into tiles of at most `TILE`.

    Returns
    -------
    Tensor of float32, shape (3, H, W)
        Flow y, flow x, logit.
    """
    height, width = image.shape
    padded = _reflect_to_multiple(image, 8)
    rows = _tile_starts(padded.shape[0])
    cols = _tile_starts(padded.shape[1])
    maps = torch.empty(3, *padded.shape)
    for row, col in product(rows, cols):
        tile = padded[row : row + TILE, col : col + TILE]
        pair = torch.stack((tile, torch.zeros_like(tile)))[None]
        out = net(pair.to(memory_format=torch.channels_last))[0].float()
        top = MARGIN if row else 0
        left = MARGIN if col else 0
        maps[:, row + top : row + TILE, col + left : col + TILE] = out[:, top:, left:]
    return maps[:, :height, :width]


def _tile_starts(length: int) -> list[int]:
    """Return where tiles begin: each next one covers all but its margin of what is left."""
    last = max(0, length - TILE)
    return [*range(0, last, TILE - 2 * MARGIN), last]


def _reflect_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Continue the image with reflected pixels (edge pixel repeated) to whole multiples."""
    for axis in (0, 1):
        length = image.shape[axis]
        index = torch.arange(-(-length // multiple) * multiple) % (2 * length)
        image = image.index_select(axis, torch.minimum(index, 2 * length - 1 - index))
    return image
