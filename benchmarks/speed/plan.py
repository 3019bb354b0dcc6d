"""What is measured, in order: repeats come one after the other round, never side by side."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from benchmarks.speed.scenes import Scene
from benchmarks.speed.store import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.speed.presets import Preset

TEACHER = "@teacher"
"""Stands for Cellpose's own network as ONNX, which is made when it is needed."""

SAVINGS: tuple[dict[str, float], ...] = (
    {},
    {"slice_spacing": 0.0, "empty_margin": 0.0},
    {"empty_margin": 0.0},
    {"slice_spacing": 0.0},
    {"slice_spacing": 1.5},
)
"""Settings that leave out work of the network stage: the default, none, each, thinner slices."""

COMPACT_FROM = 0.3
"""Above this share of foreground a cystic organoid has no room: a compact one takes its place."""


def plan(
    preset: Preset, *, models: Sequence[str], model: str, threads: int, teacher: bool
) -> list[Measurement]:
    """Return every measurement of a preset.

    Parameters
    ----------
    preset : Preset
    models : sequence of str
        Keys or paths of the students.
    model : str
        The one that is measured closely.
    threads : int
        How many where nothing else is said.
    teacher : bool
        Whether Cellpose's own network is at hand.
    """
    sections = {
        "thesis": lambda: _thesis(preset, model, threads),
        "threads": lambda: _threads(preset, model, threads),
        "growth": lambda: _growth(preset, model, threads),
        "beside": lambda: _beside(preset, model, threads) if teacher else iter(()),
        "students": lambda: _students(
            preset, [*([TEACHER] if teacher else []), *models], threads
        ),
        "masks": lambda: _masks(preset, model, threads),
        "savings": lambda: _savings(preset, model, threads),
        "profile": lambda: _profile(preset, model, threads),
    }  # fmt: skip
    return [
        Measurement(section, name, task, arguments, repeat)
        for section in preset.sections
        for repeat in range(preset.repeats)
        for name, task, arguments in sections[section]()
    ]


Item = tuple[str, str, dict[str, Any]]
"""Name, task, arguments."""


def stacks(preset: Preset) -> dict[str, Scene]:
    """Return the stacks of the thesis's size, by kind."""
    shape = (preset.planes, preset.width, preset.width)
    cystic = Scene("cystic", shape)
    return {
        "cystic": cystic,
        "compact": Scene("compact", shape, foreground=0.4),
        "anisotropy 2": replace(cystic, anisotropy=2.0),
        "anisotropy 4": replace(cystic, anisotropy=4.0),
    }


def _asked(scene: Scene, model: str, threads: int, **more: Any) -> dict[str, Any]:
    return {"scene": asdict(scene), "model": model, "threads": threads} | more


def _thesis(preset: Preset, model: str, threads: int) -> Iterator[Item]:
    for kind in preset.stacks:
        asked = _asked(stacks(preset)[kind], model, threads)
        yield f"fcp-run, {kind}", "command", asked
        yield kind, "stages", asked | {"bare_seconds": preset.bare_seconds}


def _threads(preset: Preset, model: str, threads: int) -> Iterator[Item]:
    whole = stacks(preset)["cystic"]
    for scene in (whole, replace(whole, crop=preset.crop)):
        for count in sorted({1, threads}):
            yield (
                f"{scene.title}, {count} threads",
                "stages",
                _asked(scene, model, count, warm=True),
            )


def _growth(preset: Preset, model: str, threads: int) -> Iterator[Item]:
    base = (preset.grow_planes[0], preset.width, 0.12)
    points = {base: None}  # in order, without doubles
    points |= {(planes, *base[1:]): None for planes in preset.grow_planes}
    points |= {(base[0], width, base[2]): None for width in preset.grow_widths}
    points |= {(*base[:2], foreground): None for foreground in preset.grow_foreground}
    for planes, width, foreground in points:
        kind: Any = "compact" if foreground > COMPACT_FROM else "cystic"
        scene = Scene(kind, (planes, width, width), foreground=foreground)
        for count in sorted({1, threads}):
            yield f"{scene.title}, {count} threads", "stages", _asked(scene, model, count)


def _beside(preset: Preset, model: str, threads: int) -> Iterator[Item]:
    scene = replace(stacks(preset)["cystic"], crop=preset.small_crop)
    for name, key in (("Cellpose's network", TEACHER), (model, model)):
        yield f"{name}, our runtime", "stages", _asked(scene, key, threads, warm=True)
    for variant in preset.variants:
        asked = {"scene": asdict(scene), "threads": threads, "variant": variant}
        yield f"Cellpose 3.1.1.2, torch, {variant}", "cellpose", asked


def _students(preset: Preset, models: Sequence[str], threads: int) -> Iterator[Item]:
    scene = replace(stacks(preset)["cystic"], crop=preset.crop)
    for model in models:
        yield model, "stages", _asked(scene, model, threads, warm=True)


def _masks(preset: Preset, model: str, threads: int) -> Iterator[Item]:
    scene = replace(stacks(preset)["cystic"], crop=preset.crop)
    yield "resize factor and iterations", "masks", _asked(scene, model, threads)


def _savings(preset: Preset, model: str, threads: int) -> Iterator[Item]:
    scene = replace(stacks(preset)["cystic"], crop=preset.crop)
    for options in SAVINGS:
        words = ", ".join(f"{name} {value:g}" for name, value in options.items())
        asked = _asked(scene, model, threads, options=options, warm=True)
        yield words or "default", "stages", asked


def _profile(preset: Preset, model: str, threads: int) -> Iterator[Item]:
    scene = stacks(preset)["cystic"]
    yield "cystic", "stages", _asked(scene, model, threads, profile=True)
