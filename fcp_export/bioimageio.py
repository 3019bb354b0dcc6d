"""A network as a package of the BioImage Model Zoo (bioimage.io, format 0.5)."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import ModelError, OutputError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.network.registry import load_model
from fcp_runtime.outputs.png import save_png
from fcp_runtime.outputs.preview import render_preview

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.network.registry import Model

EDGE = 128
"""Edge of the test image, pixels."""

PERCENTILES = (1.0, 99.0)
EPS = 1e-6
"""What bioimage.io adds to the range of an image."""


def write_package(name: str, folder: Path) -> Path:
    """Write a model package: network, test tensors, ``rdf.yaml``, cover and documentation.

    Programs of that family scale the image by its percentiles, run the network, and get its fields; masks are made of
    them by `fcp_runtime.reconstruct` or by Cellpose's dynamics. Images must have the network's scale.

    Parameters
    ----------
    name : str
        Key of a shipped model, or path of an ONNX file.
    folder : Path
        Made if it is missing; files of an earlier package are replaced.

    Returns
    -------
    Path
        The ``rdf.yaml``, which is written last.

    Raises
    ------
    ModelError
        If there is no such model.
    OutputError
        If a file cannot be written.
    """
    from fcp_runtime.phantom import nuclei_image

    model = load_model(name)
    if EDGE % model.info.multiple:
        raise ModelError(f"{name}: sides of {EDGE} pixels do not suit it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder ({error.strerror})") from error
    phantom = nuclei_image((EDGE, EDGE), diameter=model.info.diam_mean, seed=3)
    image = phantom.image.astype(np.float32)[None, None]
    files = {
        "model.onnx": model.content,
        "test_input.npy": _npy(image),
        "test_output.npy": _npy(run_network(model, scaled(image))),
        "README.md": documentation(model).encode(),
    }
    for file, content in files.items():
        with replacing(folder / file) as temporary:
            temporary.write_bytes(content)
    save_png(folder / "cover.png", render_preview(phantom.image, phantom.labels))
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    with replacing(folder / "rdf.yaml") as temporary:  # JSON is YAML
        temporary.write_text(json.dumps(description(model, hashes), indent=2), encoding="utf-8")
    return folder / "rdf.yaml"


def scaled(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image as bioimage.io's ``scale_range`` makes it."""
    low, high = np.percentile(image, PERCENTILES)
    grey: NDArray[np.float32] = ((image - low) / (high - low + EPS)).astype(np.float32)
    return grey


def run_network(model: Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the network gives for a batch of one channel, (N, 1, H, W)."""
    from fcp_runtime.network.session import Network

    found: NDArray[np.float32] = Network(model)(image)[None]
    return found


def description(model: Model, hashes: dict[str, str]) -> dict[str, Any]:
    """Return the contents of ``rdf.yaml``.

    Parameters
    ----------
    model : Model
    hashes : dict of str to str
        SHA-256 of each file, by its name.
    """
    info = model.info

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashes[name]}

    step = {"min": max(64, info.multiple), "step": info.multiple}
    space = ("y", "x")
    return {
        "format_version": "0.5.3",
        "type": "model",
        "name": f"FasterCellpose {info.key} nuclei",
        "description": "Flows and probability of nuclei in 2-D images, by a small student of a "
        f"Cellpose network; nuclei of {info.diam_mean:g} pixels.",
        "authors": [{"name": "FasterCellpose contributors"}],
        "cite": [{"text": "Cellpose: a generalist algorithm", "doi": "10.1038/s41592-020-01018-x"}],
        "license": "BSD-3-Clause",
        "documentation": "README.md",
        "covers": ["cover.png"],
        "tags": ["nuclei", "segmentation", "2d", "fluorescence", "cellpose"],
        "inputs": [
            {
                "id": "image",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["nuclei"]},
                    *({"type": "space", "id": axis, "size": step} for axis in space),
                ],
                "data": {"type": "float32"},
                "test_tensor": file("test_input.npy"),
                "preprocessing": [
                    {
                        "id": "scale_range",
                        "kwargs": {
                            "axes": ["channel", *space],
                            "min_percentile": PERCENTILES[0],
                            "max_percentile": PERCENTILES[1],
                            "eps": EPS,
                        },
                    }
                ],
            }
        ],
        "outputs": [
            {
                "id": "fields",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["flow_y", "flow_x", "logit"]},
                    *(
                        {
                            "type": "space",
                            "id": axis,
                            "size": {"tensor_id": "image", "axis_id": axis},
                        }
                        for axis in space
                    ),
                ],
                "data": {"type": "float32"},
                "test_tensor": file("test_output.npy"),
            }
        ],
        "weights": {"onnx": file("model.onnx") | {"opset_version": 17}},
    }


def documentation(model: Model) -> str:
    """Return the page of the package."""
    info = model.info
    data = "\n".join(f"- {source}" for source in info.training_data) or "- not known"
    return f"""# FasterCellpose {info.key}

Finds nuclei in 2-D fluorescence images. Input: one channel, nuclei of about {info.diam_mean:g} pixels in diameter, percentiles 1
and 99 scaled to 0 and 1. Output: flow towards the nucleus's centre (y, x; length 5 in a nucleus) and a logit, above 0 in nuclei.
Masks are made by following the flow, as in Cellpose.

## Trained on

{data}

## Validation

Measured accuracy, data and licences: the card of the model, `models/{info.key}.md` in the sources of FasterCellpose.
"""


def _npy(array: NDArray[Any]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
