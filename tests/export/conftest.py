"""Tests of the export side need torch and onnx; without them they are not collected."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

if any(find_spec(name) is None for name in ("torch", "onnx", "safetensors", "matplotlib")):
    collect_ignore_glob = ["test_*.py"]
else:
    import torch

    torch.set_num_threads(1)  # the networks here are small: threads would wait for each other


@pytest.fixture(scope="session")
def make_net():
    """A function: the network of a key with the weights of the formula, in evaluation mode."""
    import formula

    from fcp_export.architectures.networks import build

    def make(key: str):
        net = build(key)
        shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
        made = formula.weights(shapes)
        net.load_state_dict({name: torch.as_tensor(value) for name, value in made.items()})
        return net.eval()

    return make


@pytest.fixture(scope="session")
def oracle() -> dict[str, np.ndarray]:
    """Outputs of Cellpose's own network, see make_cpnet.py."""
    with np.load(Path(__file__).parents[1] / "data" / "cpnet.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def teacher_file(fcp_data) -> Path:
    """The teacher's checkpoint, which lies beside the folder of images, or a skip."""
    path = fcp_data.parent / "teacher" / "nuclei_teacher.pt"
    if not path.exists():
        pytest.skip("no teacher beside the folder of images")
    return path
