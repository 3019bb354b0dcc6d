"""A checkpoint becomes an ONNX file: written, compared with torch, entered in a manifest."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from fcp_export.architectures.complexity import count_macs
from fcp_export.architectures.networks import SPECS
from fcp_export.architectures.unet import UNet
from fcp_export.network_graph import NetworkWriter
from fcp_export.provenance import known_provenance, read_manifest
from fcp_export.teacher import from_cellpose, load_cellpose, load_state, to_cellpose
from fcp_export.unet_graph import write_unet
from fcp_runtime.errors import ModelError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.network.session import open_session
from fcp_runtime.phantom import nuclei_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from fcp_export.architectures.networks import Network

ABSOLUTE, RELATIVE = 1e-4, 1e-5
"""Largest difference from torch, and the same as a share of the largest output, if that is more."""

TILE = 256
"""Largest edge of the tiles that are compared."""

COARSEST = 32
"""Sides of the tiles that are compared are multiples of it, as any network here needs."""

TILING = {"tile": 224, "overlap": 16}
"""Largest edge and least overlap of the tiles that `fcp_runtime` cuts, network pixels.

Measured with v3 on one core: 5.9 million output pixels a second, where 256 and 32 give 4.8, 512 and
32 give 4.5. On 25 dev images of at least 300 network pixels F1 and AP differ less from those of one
tile over the whole image than 256 and 32 make them. Smaller tiles are quicker, but see less.
"""


def shipped_checkpoint(key: str) -> Traversable:
    """Return the checkpoint that was installed with the shipped model.

    Raises
    ------
    ModelError
        If none is shipped for this network.
    """
    file = resources.files("fcp_runtime._models").joinpath(f"{key}.safetensors")
    if not file.is_file():
        raise ModelError(f"no checkpoint of {key} is shipped; give one with --checkpoint")
    return file


def read_checkpoint(path: Path | Traversable, key: str) -> tuple[Network, bytes]:
    """Read a checkpoint into its network.

    Parameters
    ----------
    path : Path or Traversable
        A ``.safetensors`` file, or a torch file in Cellpose's format.
    key : str
        Of the network.

    Returns
    -------
    Network
        In evaluation mode.
    bytes
        The checkpoint as a ``.safetensors`` file: as it was read, if it was one.

    Raises
    ------
    ModelError
        If the file is missing, is no checkpoint or belongs to another network.
    """
    if not path.name.endswith(".safetensors"):
        net = load_cellpose(path, key)  # type: ignore[arg-type]
        return net, save({name: t.contiguous() for name, t in to_cellpose(net).items()})
    state, content = _read_safetensors(path)
    return from_cellpose(state, key, name=str(path)), content


def read_state(path: Path) -> Mapping[str, Tensor]:
    """Read the weights of a checkpoint, of whatever network; see `read_checkpoint`."""
    if path.name.endswith(".safetensors"):
        return _read_safetensors(path)[0]
    return load_state(path)


def _read_safetensors(path: Path | Traversable) -> tuple[Mapping[str, Tensor], bytes]:
    try:
        content = path.read_bytes()
        return load(content), content
    except OSError as error:
        raise ModelError(f"{path}: cannot read this checkpoint ({error.strerror})") from error
    except SafetensorError as error:
        raise ModelError(f"{path}: damaged, or not a safetensors file ({error})") from error


def onnx_bytes(net: Network) -> bytes:
    """Return a network as an ONNX file; the same network gives the same bytes.

    Parameters
    ----------
    net : Network
        In evaluation mode.
    """
    graph = write_unet(net) if isinstance(net, UNet) else NetworkWriter(net).write()
    metadata = {
        "key": net.spec.key,
        "diam_mean": repr(float(net.diam_mean)),
        "parameters": str(net.spec.parameters),
        "made_with": "fcp-export",
    }
    if isinstance(net, UNet):  # 8 needs no mention: the files of the ten stay as they are
        metadata["multiple"] = str(net.spec.multiple)
    model = graph.model(metadata)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


@torch.inference_mode()
def compare(net: Network, content: bytes, tiles: Iterable[NDArray[np.float32]], name: str) -> float:
    """Return the largest difference between torch and onnxruntime.

    Parameters
    ----------
    net : Network
        In evaluation mode.
    content : bytes
        Its ONNX file.
    tiles : iterable of ndarray of float32, shape (N, 1, H, W)
    name : str
        For messages.

    Raises
    ------
    ModelError
        If it exceeds `ABSOLUTE`, and `RELATIVE` times the largest output of that tile.
    """
    session = open_session(content, name)
    worst = 0.0
    for tile in tiles:
        image = torch.from_numpy(tile)
        wanted = net(torch.cat((image, torch.zeros_like(image)), 1)).numpy()
        (found,) = session.run(None, {"image": tile})
        difference = float(np.abs(found - wanted).max())
        limit = max(ABSOLUTE, RELATIVE * float(np.abs(wanted).max()))
        if not difference <= limit:  # NaN is a failure too
            shape = " x ".join(map(str, tile.shape))
            raise ModelError(
                f"{name}: on a tile of {shape} the graph differs from torch by {difference:.2g}, "
                f"more than {limit:.2g}; the checkpoint or the installed onnxruntime is at fault"
            )
        worst = max(worst, difference)
    return worst


def comparison_tiles(images: Sequence[Path] = ()) -> Iterator[NDArray[np.float32]]:
    """Make tiles for `compare`: noise of several sizes, synthetic nuclei, and the given images."""
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 64, 64), (2, 1, 96, 160), (1, 1, TILE, TILE)):
        yield rng.random(shape, np.float32)
    for seed in (0, 1):
        yield _tile(nuclei_image((TILE, TILE), diameter=17, seed=seed).image)
    for path in images:
        from fcp_runtime.io.tiff import read_volume

        pixels = read_volume(path).pixels
        yield _tile(pixels[len(pixels) // 2] if pixels.ndim == 3 else pixels)


def _tile(image: NDArray[Any]) -> NDArray[np.float32]:
    """Normalise an image and cut out its middle, as a tile."""
    low, high = np.percentile(image, (1, 99))
    edges = [min(TILE, length // COARSEST * COARSEST) for length in image.shape]
    rows, cols = (
        slice((length - edge) // 2, (length + edge) // 2)
        for length, edge in zip(image.shape, edges, strict=True)
    )
    middle = (image[rows, cols] - low) / max(high - low, 1e-6)
    return np.asarray(middle, np.float32)[None, None]


def export_model(
    key: str, checkpoint: Path | Traversable, folder: Path, images: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write ``KEY.onnx``, ``KEY.safetensors`` and the entry in ``manifest.json``.

    Parameters
    ----------
    key : str
        Of the network.
    checkpoint : Path or Traversable
        As in `read_checkpoint`. What a JSON file of the same stem beside it tells of training
        data, licences, teacher and accuracy goes into the entry.
    folder : Path
        Where to; made if need be.
    images : sequence of Path
        Images on which graph and checkpoint are compared too.

    Returns
    -------
    dict
        The entry, and under ``"difference"`` the largest one from torch.

    Raises
    ------
    ModelError
        If the checkpoint cannot be used, or the graph does not compute the same.
    OutputError
        If the folder cannot be written.
    """
    net, weights = read_checkpoint(checkpoint, key)
    content = onnx_bytes(net)
    difference = compare(net, content, comparison_tiles(images), f"{key}.onnx")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.json"
    models = read_manifest(manifest)
    digest = hashlib.sha256(weights).hexdigest()
    entry = {
        "key": key,
        "file": f"{key}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "diam_mean": float(net.diam_mean),
        **TILING,
        "multiple": SPECS[key].multiple,
        "parameters": SPECS[key].parameters,
        "macs_1024": count_macs(key),
        **known_provenance(checkpoint, digest, models.get(key, {})),
        "made_with": _versions(),
        "checkpoint": f"{key}.safetensors",
        "checkpoint_sha256": digest,
    }
    text = json.dumps({"models": models | {key: entry}}, indent=2, sort_keys=True) + "\n"
    for name, written in (
        (f"{key}.onnx", content),
        (f"{key}.safetensors", weights),
        (manifest.name, text.encode()),  # last: it vouches for the others
    ):
        with replacing(folder / name) as temporary:
            temporary.write_bytes(written)
    return entry | {"difference": difference}


def _versions() -> dict[str, str]:
    """Return the versions of what makes the file."""
    return {name: metadata.version(name) for name in ("fastercellpose", "onnx", "torch")}
