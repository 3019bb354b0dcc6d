"""What the thesis left open: a student in 8-bit integers, and with its least weights set to zero.

Source: Jacob et al., CVPR 2018 (integers); Han et al., NeurIPS 2015 (magnitude pruning).
"""

from __future__ import annotations

import tempfile
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.models import Model, open_model
from fcp_runtime.errors import SettingsError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import load_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from fcp_runtime.evaluate.manifest import Row

SHARES = (0.3, 0.5, 0.7)
"""Parts of the weights that are set to zero."""
EDGE = 256
CALIBRATION = 32
"""Tiles that show which values occur inside the network."""


def compressed_models(
    original: Model, rows: Sequence[Row], folder: Path, *, seed: int = 0
) -> list[Model]:
    """Return the model in integers and pruned, as ONNX files made if they do not lie there.

    Parameters
    ----------
    original : Model
    rows : sequence of Row
        Of a manifest; calibration uses those whose split begins with ``train``.
    folder : Path
        Made if need be.
    seed : int
        Which train rows calibrate.

    Raises
    ------
    SettingsError
        If there are no train rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load_model(original.location)
    content, diameter = loaded.content, loaded.info.diam_mean
    recipes: dict[str, Callable[[], bytes]] = {
        "int8 static": lambda: quantise_static(content, calibration_tiles(rows, diameter, seed)),
        "int8 dynamic": lambda: quantise_dynamic(content),
    }
    for share in SHARES:
        recipes[f"pruned {share:.0%}"] = partial(prune, content, share)
    made = []
    for what, recipe in recipes.items():
        name = f"{original.network}-{original.sha256[:12]}-{what.replace(' ', '-').rstrip('%')}"
        path = folder / f"{name}.onnx"
        if not path.exists():
            compressed = recipe()
            with replacing(path) as temporary:
                temporary.write_bytes(compressed)
        made.append(open_model(f"{original.name} {what}", str(path), "compressed"))
    return made


def calibration_tiles(rows: Sequence[Row], diameter: float, seed: int) -> list[NDArray[np.float32]]:
    """Cut tiles (1, 1, H, W) at network scale from randomly drawn train rows with a diameter."""
    from fcp_export.data.slices import slice_sets

    train = [row for row in rows if row.split.startswith("train") and row.diameter_px]
    if not train:
        raise SettingsError("no train rows with a diameter in the manifest to calibrate with")
    rng = np.random.default_rng(seed)
    tiles = []
    for index in rng.permutation(len(train))[:CALIBRATION]:
        sets = slice_sets(train[index], diameter, step=4, diameter=None)
        for one in sets[:CALIBRATION]:
            image = one.images[len(one.images) // 2].astype(np.float32)
            high, wide = (min(EDGE, length // 8 * 8) for length in image.shape)
            tiles.append(np.ascontiguousarray(image[None, None, :high, :wide]))
    return tiles[:CALIBRATION]


def quantise_static(content: bytes, tiles: Sequence[NDArray[np.float32]]) -> bytes:
    """Return a model whose weights and maps are 8-bit integers, ranges measured on tiles."""
    load_engine()  # first: with its telemetry switched off
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the tiles."""

        def __init__(self) -> None:
            self.rest: Iterator[dict[str, NDArray[np.float32]]] = (
                {"image": tile} for tile in tiles
            )

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            """Return the next input, or None."""
            return next(self.rest, None)

    return _through_files(
        content,
        lambda source, target: quantize_static(
            source, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True
        ),
    )


def quantise_dynamic(content: bytes) -> bytes:
    """Return a model with 8-bit weights, the ranges of its maps measured as it runs."""
    load_engine()  # first: with its telemetry switched off
    from onnxruntime.quantization import QuantType, quantize_dynamic

    return _through_files(
        content,
        lambda source, target: quantize_dynamic(source, target, weight_type=QuantType.QUInt8),
    )


def prune(content: bytes, share: float) -> bytes:
    """Return a model with the least of its convolution weights, over all layers, set to zero."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    kernels = {
        tensor.name: numpy_helper.to_array(tensor).copy()
        for tensor in model.graph.initializer
        if tensor.name.endswith(".weight")
    }
    sizes = np.concatenate([np.abs(kernel).ravel() for kernel in kernels.values()])
    least = np.quantile(sizes, share)
    for tensor in model.graph.initializer:
        if tensor.name in kernels:
            kernel = kernels[tensor.name]
            kernel[np.abs(kernel) < least] = 0
            tensor.CopyFrom(numpy_helper.from_array(kernel, tensor.name))
    return bytes(model.SerializeToString(deterministic=True))


def zipped_size(content: bytes) -> int:
    """Return the bytes of a file after zlib: what zeros and integers save on a disk."""
    return len(zlib.compress(content, 9))


def _through_files(content: bytes, work: Callable[[Path, Path], None]) -> bytes:
    """Let onnxruntime's tools, which read and write files, work on a model's bytes."""
    import onnx

    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "source.onnx", Path(name) / "target.onnx"
        source.write_bytes(content)
        work(source, target)
        made = onnx.load(target)
    del made.metadata_props[:]
    made.metadata_props.extend(onnx.load_from_string(content).metadata_props)
    return bytes(made.SerializeToString(deterministic=True))
