"""Make ``cellpose_outputs.npz``: outlines and the form of ``_seg.npy`` as Cellpose 3.1.1.2 writes them.

Run by hand where Cellpose 3.1.1.2 (and so OpenCV) is installed: ``python make_cellpose_outputs.py``.
With arguments it loads ``_seg.npy`` files with the loader of Cellpose's graphical interface and
prints what the interface then holds: ``python make_cellpose_outputs.py a_seg.npy b_seg.npy``. The
window itself is replaced by a mock, so no display and no Qt are needed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

HERE = Path(__file__).parent


def make_labels() -> np.ndarray:
    """Discs, some touching and cut by the border, one with a hole, one in two pieces, tiny ones."""
    rng = np.random.default_rng(5)
    labels = np.zeros((96, 112), np.uint16)
    rows, columns = np.mgrid[:96, :112]
    for label in range(1, 25):
        y, x, a, b = *rng.uniform(0, (96, 112)), *rng.uniform(4, 13, 2)
        disc = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1
        labels[disc & (labels == 0)] = label
    labels[(labels == 3) & ((rows + columns) % 7 == 0)] = 0
    free = np.argwhere(labels == 0)
    for label, (y, x) in enumerate(free[:: len(free) // 5][:4], start=25):
        labels[y, x] = label
    labels[labels == 28] = 0
    labels[2, 2:12] = 28  # one pixel high
    labels[4:8, 4:8] = 29 * np.eye(4, dtype=np.uint16)  # joined at corners only
    _, inverse = np.unique(labels, return_inverse=True)
    return inverse.reshape(labels.shape).astype(np.uint16)


def form(value: object) -> object:
    """Return types, shapes and dtypes instead of values."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape)]
    return [form(part) for part in value] if isinstance(value, list) else type(value).__name__


def make() -> None:
    """Write the file."""
    from cellpose import io, plot, utils

    labels = make_labels()
    rng = np.random.default_rng(0)
    forms = {}
    with tempfile.TemporaryDirectory() as folder:
        base = f"{folder}/x"
        io.outlines_to_text(base, utils.outlines_list(labels, multiprocessing=False))
        lines = Path(f"{base}_cp_outlines.txt").read_text(encoding="ascii")
        for axes, masks in (("2d", labels), ("3d", np.stack([labels] * 3))):
            flow = rng.normal(0, 2, (masks.ndim, *masks.shape)).astype(np.float32)
            logit = rng.normal(0, 5, masks.shape).astype(np.float32)
            flows = [plot.dx_to_circ(flow), flow, logit]
            io.masks_flows_to_seg(masks, masks, flows, f"{base}.tif", diams=25.0)
            content = np.load(f"{base}_seg.npy", allow_pickle=True).item()
            forms[axes] = {key: form(value) for key, value in content.items()}
    np.savez_compressed(
        HERE / "cellpose_outputs.npz",
        labels=labels,
        border=utils.masks_to_outlines(labels),
        lines=np.array(lines),
        forms=np.array(json.dumps(forms)),
    )


def load(name: str) -> None:
    """Load a file as the interface does, and print what it holds."""
    for module in ("qtpy", "qtpy.QtWidgets", "qtpy.QtCore", "qtpy.QtGui", "superqt", "pyqtgraph"):
        sys.modules[module] = MagicMock()
    from cellpose.gui import io

    dat = np.load(name, allow_pickle=True).item()
    volume = dat["masks"].ndim == 3
    window = MagicMock()
    window.load_3D, window.restore, window.colormap = volume, None, np.zeros((10**6, 4), np.uint8)
    del window.stack_filtered
    window.autobtn.isChecked.return_value = False
    window.saturation = []
    io._load_seg(window, filename=name, load_3D=volume)
    print(name, "loaded:", window.loaded, "image:", window.filename, window.stack.shape)
    print(" masks", window.cellpix.shape, window.cellpix.max(), "objects", window.ncells)
    print(" outlines", window.outpix.shape, np.count_nonzero(window.outpix))
    print(" flows", [getattr(flow, "shape", flow) for flow in window.flows])
    print(" diameter", window.diameter, "recompute", window.recompute_masks)
    assert np.array_equal(window.cellpix.reshape(dat["masks"].shape), dat["masks"])
    assert window.loaded
    assert window.ncells == dat["masks"].max()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        load(argument)
    if len(sys.argv) == 1:
        make()
