"""How much is measured: three sizes of the same benchmark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.speed.scenes import Shape

SECTIONS = ("thesis", "threads", "growth", "students", "masks", "savings", "profile", "beside")
"""What can be measured by itself, in order."""


@dataclass(frozen=True)
class Preset:
    """Sizes and counts.

    Attributes
    ----------
    planes, width : int
        The stack of the section ``thesis``.
    stacks : tuple of str
        Which kinds of it: see `benchmarks.speed.plan.stacks`.
    grow_planes, grow_widths : tuple of int
        Sizes whose cost is compared, the first of the planes and ``width`` common to all others.
    grow_foreground : tuple of float
        Shares of foreground whose cost is compared.
    crop : tuple of int
        Voxels for the sections ``students``, ``masks`` and ``savings``, and beside the whole
        stack for ``threads``.
    small_crop : tuple of int
        Voxels that Cellpose can finish.
    variants : tuple of str
        How Cellpose is run: see `benchmarks.speed.cellpose_task`.
    bare_seconds : float
        How long the bare loop runs.
    repeats : int
        How often each measurement is made; tables show medians.
    sections : tuple of str
        What is measured.
    """

    planes: int = 237
    width: int = 1024
    stacks: tuple[str, ...] = ("cystic", "compact", "anisotropy 2", "anisotropy 4")
    grow_planes: tuple[int, ...] = (64, 128, 237)
    grow_widths: tuple[int, ...] = (512, 1024, 1536, 2048)
    grow_foreground: tuple[float, ...] = (0.02, 0.05, 0.12, 0.25, 0.4)
    crop: Shape = (64, 512, 512)
    small_crop: Shape = (48, 256, 256)
    variants: tuple[str, ...] = ("channels_last", "default", "plain")
    bare_seconds: float = 5.0
    repeats: int = 3
    sections: tuple[str, ...] = SECTIONS

    def scaled(self, scale: float, planes: int | None) -> Preset:
        """Return the preset with ``scale`` times the width, and ``planes`` in place of its own."""

        def wide(width: int) -> int:
            return max(64, round(width * scale / 16) * 16)

        def deep(count: int) -> int:
            return count if planes is None else max(16, round(count * planes / self.planes))

        return replace(
            self,
            planes=deep(self.planes),
            width=wide(self.width),
            grow_planes=tuple(map(deep, self.grow_planes)),
            grow_widths=tuple(map(wide, self.grow_widths)),
            crop=(deep(self.crop[0]), wide(self.crop[1]), wide(self.crop[2])),
            small_crop=(
                deep(self.small_crop[0]),
                wide(self.small_crop[1]),
                wide(self.small_crop[2]),
            ),
        )


FULL = Preset()
PRESETS = {
    "full": FULL,
    "short": replace(
        FULL,
        stacks=("cystic",),
        crop=(48, 384, 384),
        small_crop=(32, 256, 256),
        variants=("channels_last", "default"),
        repeats=1,
        sections=("thesis", "threads", "students", "masks", "savings", "profile", "beside"),
    ),
    "quick": replace(
        FULL,
        planes=32,
        width=128,
        stacks=("cystic", "anisotropy 2"),
        grow_planes=(24, 32),
        grow_widths=(96, 128),
        grow_foreground=(0.12, 0.4),
        crop=(24, 96, 96),
        small_crop=(16, 64, 64),
        variants=("channels_last", "default"),
        bare_seconds=0.2,
        repeats=1,
    ),
}
"""By name: hours, about twelve minutes, a few minutes."""
