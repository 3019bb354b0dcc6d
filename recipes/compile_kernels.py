"""Segment a small image and a small stack of every type of pixels, so that all kernels are compiled."""

import tempfile
from pathlib import Path

import numpy as np
import tifffile
from click.testing import CliRunner

from fcp_runtime.cli.run import main
from fcp_runtime.phantom import nuclei_image, organoid

flat = nuclei_image((96, 96), diameter=20, seed=1).image
stack = organoid((12, 64, 64), phenotype="compact", diameter=20, seed=1).image
with tempfile.TemporaryDirectory() as folder:
    for dtype in (np.uint8, np.uint16, np.float32):
        for name, pixels, axes in (("flat", flat, "YX"), ("stack", stack, "ZYX")):
            grey = pixels.astype(np.float32) / pixels.max() * 255
            path = Path(folder, f"{name}_{np.dtype(dtype)}.tif")
            tifffile.imwrite(path, grey.astype(dtype), metadata={"axes": axes})
            outputs = [
                "--table",
                f"{path}.csv",
                "--preview",
                f"{path}.png",
                "--rois",
                f"{path}.zip",
            ]
            if name == "flat":
                outputs += ["--flow-threshold", "0.4", "--seg-npy", f"{path}.npy"]
            else:
                outputs += ["--anisotropy", "1"]
            done = CliRunner().invoke(main, [str(path), "-o", f"{path}.mask.tif", *outputs])
            if done.exit_code:
                raise SystemExit(done.output)
