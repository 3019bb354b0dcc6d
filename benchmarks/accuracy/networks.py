"""The ten networks: parameters and operations beside the thesis's, and their time side by side."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.io.atomic import replacing
from fcp_runtime.network.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

THESIS = {
    "cellpose": (6_600_843, 326_837_313_536),
    "dilated": (5_031_244, 246_658_998_272),
    "upsample": (5_133_164, 250_953_719_808),
    "compressed": (3_563_565, 173_644_308_480),
    "separable": (1_250_019, 51_942_629_376),
    "compressed-separable": (720_100, 33_923_653_632),
    "fastcellpose": (564_807, 30_102_550_528),
    "v1": (326_531, 14_984_243_200),
    "v2": (186_865, 9_187_653_632),
    "v3": (115_969, 4_912_609_280),
}
"""Parameters and MACs on 1024x1024 pixels of table 3.5."""
TILE, TILES = 256, 16
"""Time is taken on so many tiles of this edge: together an image of 1024x1024."""


def complexity() -> list[tuple[str, str, int, int]]:
    """Return key, title, parameters and MACs (1024x1024) of each network, as counted from it."""
    import torch

    from fcp_export.architectures.complexity import count_macs, count_parameters
    from fcp_export.architectures.networks import SPECS, build

    with torch.device("meta"):  # shapes only
        parameters = {key: count_parameters(build(key)) for key in SPECS}
    return [(key, spec.title, parameters[key], count_macs(key)) for key, spec in SPECS.items()]


def untrained_models() -> dict[str, Callable[[], bytes]]:
    """Return for each network how to make an ONNX file of it: its time needs no training."""
    import torch

    from fcp_export.architectures.networks import SPECS, build
    from fcp_export.export import onnx_bytes

    def make(key: str) -> bytes:
        torch.manual_seed(0)
        return onnx_bytes(build(key).eval())

    return {key: lambda key=key: make(key) for key in SPECS}  # type: ignore[misc]


def network_times(
    path: Path, models: Mapping[str, Callable[[], bytes]], rounds: int
) -> dict[str, float]:
    """Return seconds per 1024x1024 pixels in one thread, kept in a JSON file.

    If the file lacks a model, all are timed anew, in turn, so that they compare; the least of the
    rounds counts, because other work on the machine only adds.

    Parameters
    ----------
    path : Path
        The JSON file.
    models : mapping of str to callable
        What gives the ONNX file of each name.
    rounds : int
        0 times nothing and returns what the file holds.
    """
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    if rounds == 0 or models.keys() <= known.keys():
        return known
    tile = np.random.default_rng(0).random((1, 1, TILE, TILE), np.float32)
    sessions = {name: open_session(content(), name) for name, content in models.items()}
    for session in sessions.values():
        session.run(None, {"image": tile})
    least = dict.fromkeys(models, float("inf"))
    for _ in range(rounds):
        for name, session in sessions.items():
            started = time.perf_counter()
            for _ in range(TILES):
                session.run(None, {"image": tile})
            least[name] = min(least[name], time.perf_counter() - started)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(least, indent=1))
    return least
