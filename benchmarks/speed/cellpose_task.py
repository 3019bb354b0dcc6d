"""Cellpose 3.1.1.2 on torch, in an environment that knows nothing of this project.

Standard input: what to do, as JSON; last line of standard output: what was measured, as JSON.

The variant ``default`` is Cellpose as it is (its network converted to oneDNN's layout at each
call), ``plain`` leaves the layout to torch, ``channels_last`` gives the weights that one.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

STARTED = time.perf_counter()


def peak_memory() -> int:
    """Return the largest resident memory so far, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def timed(
    function: Callable[..., Any], seconds: dict[str, float], stage: str
) -> Callable[..., Any]:
    """Return the function, its time added to ``seconds[stage]``."""

    def call(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - begun

    return call


def main() -> None:
    """Segment one stack."""
    asked = json.load(sys.stdin)
    import numpy as np
    import tifffile
    import torch
    from cellpose import models  # type: ignore[import-not-found]

    torch.set_num_threads(asked["threads"])
    model = models.CellposeModel(
        gpu=False, pretrained_model=asked["checkpoint"], mkldnn=asked["variant"] == "default"
    )
    if asked["variant"] == "channels_last":
        model.net.to(memory_format=torch.channels_last)
    seconds = {"start": time.perf_counter() - STARTED}
    for step, stage in (("_run_net", "network"), ("_compute_masks", "masks")):
        setattr(model, step, timed(getattr(model, step), seconds, stage))
    stack = tifffile.imread(asked["image"])
    begun = time.perf_counter()
    masks = model.eval(
        stack,
        channels=[0, 0],
        z_axis=0,
        do_3D=True,
        diameter=asked["diameter"],
        anisotropy=asked["anisotropy"],
    )[0]
    seconds["eval"] = time.perf_counter() - begun
    np.save(asked["masks"], masks.astype(np.int32))
    print(json.dumps({"seconds": seconds, "peak_memory": peak_memory()}))


main()
