"""What the network could do: counted calls, a bare loop over the same tiles, the matrix product."""

from __future__ import annotations

import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.network.registry import list_models, load_model
from fcp_runtime.network.session import Network, open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from benchmarks.store import Result

MATRIX = 1024
"""Edge of the matrices whose product is timed."""

MIX = 512
"""Tiles of the bare loop, before it begins again."""

Tile = tuple[int, int]


class CountingNetwork(Network):
    """A network that counts the tiles it sees, by height and width, and the time it takes."""

    def __init__(self, network: Network) -> None:
        vars(self).update(vars(network))
        self.calls: dict[Tile, int] = {}
        self.seconds = 0.0
        self._lock = threading.Lock()

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network returns."""
        begun = time.perf_counter()
        output = super().__call__(tile)
        taken = time.perf_counter() - begun
        shape = tile.shape[-2], tile.shape[-1]
        with self._lock:
            self.calls[shape] = self.calls.get(shape, 0) + tile.size // (shape[0] * shape[1])
            self.seconds += taken
        return output

    @property
    def pixels(self) -> int:
        """Network pixels of all tiles so far."""
        return sum(height * width * count for (height, width), count in self.calls.items())


def mix(counts: Mapping[Tile, int], length: int) -> list[Tile]:
    """Return ``length`` tiles in the proportions of ``counts``, evenly mixed."""
    total = sum(counts.values())
    taken = dict.fromkeys(counts, 0)
    order: list[Tile] = []
    for index in range(1, length + 1):
        tile = max(counts, key=lambda shape: index * counts[shape] / total - taken[shape])
        taken[tile] += 1
        order.append(tile)
    return order


def bare_rate(
    model: str, counts: Mapping[Tile, int], plane: NDArray[Any], threads: int, seconds: float
) -> float:
    """Return tile pixels a second of nothing but ``session.run``, over tiles of the same sizes.

    Their pixels are those of ``plane`` (Y, X), repeated as need be. One session with one thread of
    its own, called by ``threads`` threads, as in the runtime.
    """
    loaded = load_model(model)
    session = open_session(loaded.content, loaded.info.file)
    low, high = np.percentile(plane, (1, 99))
    scaled = ((plane - low) / max(high - low, 1e-6)).astype(np.float32)
    tiles = {
        shape: np.take(
            np.take(scaled, range(shape[0]), 0, mode="wrap"), range(shape[1]), 1, mode="wrap"
        )[None, None]
        for shape in counts
    }
    order = [tiles[shape] for shape in mix(counts, MIX)]

    def step(index: int) -> int:
        tile = order[index % len(order)]
        session.run(None, {"image": tile})
        return tile.size

    return _rate(step, threads, seconds)


def matrix_rate(threads: int, seconds: float) -> float:
    """Return multiply-accumulates a second of an onnxruntime matrix product."""
    session = open_matrix_session()
    matrix = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)

    def step(_: int) -> int:
        session.run(None, {"a": matrix, "b": matrix})
        return MATRIX**3

    return _rate(step, threads, seconds)


def open_matrix_session() -> Any:
    """Return a session of one thread that multiplies two matrices."""
    from fcp_runtime.network.session import load_engine

    onnxruntime = load_engine()
    from onnx import TensorProto, helper

    names = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [MATRIX, MATRIX])
        for name in "abc"
    }
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        [names["a"], names["b"]],
        [names["c"]],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _rate(step: Callable[[int], int], threads: int, seconds: float) -> float:
    """Return the work a second of threads that take steps until the time is over."""
    for index in range(threads):  # the first call plans memory
        step(index)
    turns = itertools.count()
    begun = time.perf_counter()

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() - begun < seconds:
            done += step(next(turns))
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - begun)


def model_facts(model: str) -> Result:
    """Return key, parameters and multiply-accumulates a pixel of a model, as far as they are known.

    Those of a file are in the manifest beside it, where ``fcp-export`` made it.
    """
    for info in list_models():
        if info.key == model:
            return _facts(info.key, info.parameters, info.macs_1024)
    manifest = Path(model).with_name("manifest.json")
    if manifest.is_file():
        entries = json.loads(manifest.read_text(encoding="utf-8"))["models"]
        for key, entry in entries.items():
            if entry["file"] == Path(model).name:
                return _facts(key, entry["parameters"], entry["macs_1024"])
    return _facts(Path(model).stem, None, None)


def _facts(key: str, parameters: int | None, macs_1024: int | None) -> Result:
    macs = None if macs_1024 is None else macs_1024 / 2**20
    return {"key": key, "parameters": parameters, "macs_per_pixel": macs}
