"""Damage small files in every way, and see that reading them ends in pixels or in one clear line.

By hand: ``python tests/runtime/fuzz_files.py 20000``; the slow tests do fewer.
"""

from __future__ import annotations

import io
import resource
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from micromanager import write_stack

from fcp_runtime.errors import FcpError
from fcp_runtime.io.read import read_volume
from fcp_runtime.machine.workers import Workers

STACK = np.random.default_rng(9).integers(1, 4000, (5, 24, 36)).astype(np.uint16)
EDGES = (0, 1, 2, 3, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)
SLOW_S, GROWTH = 5.0, 500 << 20
STRUCTURE = {256, 257, 258, 273, 277, 278, 279, 322, 323, 324, 325}
"""Tags whose damage may not give another shape in silence."""


def seeds():
    """Yield names and bytes of sound files of every kind that can be written here."""
    kinds = {
        "plain": {"metadata": None},
        "zlib": {"metadata": None, "compression": "zlib"},
        "lzw": {"metadata": None, "compression": "lzw", "predictor": 2},
        "strips": {"metadata": None, "rowsperstrip": 7},
        "tiles": {"metadata": None, "tile": (16, 16), "compression": "zstd"},
        "shaped": {"metadata": {"axes": "ZYX"}},
        "shaped zlib": {"metadata": {"axes": "ZYX"}, "compression": "zlib"},
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 2.0, "unit": "um"}},
        "imagej zlib": {"imagej": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
        "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
        "ome tiles": {
            "ome": True,
            "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5},
            "tile": (16, 16),
            "compression": "zlib",
        },
        "big": {"bigtiff": True, "metadata": None},
        "motorola": {"byteorder": ">", "metadata": None},
    }
    for name, options in kinds.items():
        out = io.BytesIO()
        tifffile.imwrite(out, STACK, photometric="minisblack", **options)
        yield name, out.getvalue(), STACK.shape
    with tempfile.TemporaryDirectory() as folder:
        places = [(0, z, 0, 0) for z in range(len(STACK))]
        path = write_stack(Path(folder) / "a.tif", STACK, places, Slices=len(STACK))
        yield "micromanager", path.read_bytes(), STACK.shape
    yield "png", imagecodecs.png_encode(STACK[0]), STACK.shape[1:]
    yield "jpeg", imagecodecs.jpeg_encode(STACK[0].astype(np.uint8)), STACK.shape[1:]
    out = io.BytesIO()
    np.save(out, STACK)
    yield "npy", out.getvalue(), STACK.shape


def tag_places(data):
    """Return where the entries of classic TIFF's directories are, by tag; empty for others."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or struct.unpack_from(order + "H", data, 2)[0] != 42:
        return []
    found, (start,) = [], struct.unpack_from(order + "I", data, 4)
    while start:
        (count,) = struct.unpack_from(order + "H", data, start)
        found += [start + 2 + 12 * at for at in range(count)]
        (start,) = struct.unpack_from(order + "I", data, start + 2 + 12 * count)
    return found


def mutate(data, rng):
    """Return damaged bytes, and whether a tag that gives the shape was hit."""
    damaged, structural = bytearray(data), False
    places = tag_places(data)
    for _ in range(rng.integers(1, 4)):
        way = rng.integers(0, 8)
        if way == 0:
            at = rng.integers(0, len(damaged))
            damaged[at] ^= int(rng.integers(1, 256))
        elif way == 1:
            at = rng.integers(0, min(400, len(damaged)))
            damaged[at] ^= int(rng.integers(1, 256))
        elif way == 2 and len(damaged) > 60:
            del damaged[int(rng.integers(20, len(damaged))) :]
        elif way == 3 and len(damaged) > 60:
            at = int(rng.integers(8, len(damaged) - 8))
            struct.pack_into("<I", damaged, at, int(rng.choice(EDGES)))
        elif way == 4 and len(damaged) > 200:
            at, size = int(rng.integers(8, len(damaged) - 64)), int(rng.integers(1, 64))
            damaged[at : at + size] = bytes(size)
        elif way == 5 and len(damaged) > 200:
            at, size = int(rng.integers(8, len(damaged) - 64)), int(rng.integers(1, 64))
            del damaged[at : at + size]
        elif places and len(damaged) == len(data):
            at = int(rng.choice(places))
            order = "<" if data[:2] == b"II" else ">"
            structural |= struct.unpack_from(order + "H", data, at)[0] in STRUCTURE
            part, width = [(0, "H"), (2, "H"), (4, "I"), (8, "I")][int(rng.integers(0, 4))]
            value = int(rng.choice(EDGES)) % (65536 if width == "H" else 2**32)
            struct.pack_into(order + width, damaged, at + part, value)
    return bytes(damaged), structural


@dataclass
class Outcome:
    """What came of a run."""

    counts: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def fuzz(count, seed=0, keep=None):
    """Read ``count`` damaged files; ``keep`` is a folder for those at fault."""
    outcome, rng, sound = Outcome(), np.random.default_rng(seed), list(seeds())
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            name, data, shape = sound[number % len(sound)]
            damaged, structural = mutate(data, rng)
            path = Path(folder) / f"a{number % 7}.tif"
            path.write_bytes(damaged)
            before, began = peak(), time.perf_counter()
            with warnings.catch_warnings(record=True) as noted:
                warnings.simplefilter("always")
                result, fault = attempt(path, shape, structural)
            outcome.counts[result] += 1
            if any(not w.category.__name__.startswith("Fcp") for w in noted):
                fault = f"leaked warning {noted[0].message}"
            if time.perf_counter() - began > SLOW_S:
                fault = "slow"
            if peak() - before > GROWTH:
                fault = "memory"
            if fault:
                outcome.faults.append(f"{number} {name}: {fault}")
                if keep is not None:
                    (keep / f"{number}.tif").write_bytes(damaged)
    return outcome


def attempt(path, shape, structural):
    """Read a file; return the outcome and what is wrong with it, or None."""
    try:
        read = read_volume(path, workers=Workers(1)).pixels
    except FcpError as error:
        bad = "\n" in str(error) or not str(error).startswith(str(path))
        return "refused", f"message {str(error)!r}" if bad else None
    except Exception as error:  # noqa: BLE001 (what is looked for)
        return "foreign", f"{type(error).__name__}: {error}"
    if read.shape == shape:
        return "same shape", None
    return "other shape", f"silent shape {read.shape}" if structural else None


def peak():
    """Return the largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    kept = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    done = fuzz(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, kept)
    sys.stdout.write(f"{dict(done.counts)}\n" + "\n".join(done.faults) + "\n")
