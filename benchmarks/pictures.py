"""The pictures of the users' pages, made by the program: ``python -m benchmarks.pictures DATA``.

``DATA`` is the folder of the manifest. All images are of dsb2018 (BBBC038, CC0) or synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fcp_runtime import Segmenter, read_volume
from fcp_runtime.outputs.png import save_png
from fcp_runtime.outputs.preview import render_preview
from fcp_runtime.phantom import demo

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
LARGE, FAINT, ROUND = "7d40ea6ead1b", "a5e695fce80d", "c3bec1066aae"
"""How the names of some images of dev2d/dsb2018 begin."""
SIZE = 180
"""Pixels of an image that a panel shows, on each axis."""
GAP = 6
"""White pixels between panels."""


class Painter:
    """Segments images of a folder and draws parts of them."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.segmenter = Segmenter("v3")

    def pixels(self, stem: str) -> NDArray[Any]:
        """Return the image whose name begins so."""
        (path,) = (self.data / "dev2d" / "dsb2018").glob(f"{stem}*_image.tif")
        return read_volume(path).pixels

    def panel(
        self, stem: str, diameter: float, corner: tuple[int, int], threshold: float = 0.0
    ) -> NDArray[np.uint8]:
        """Return a square of an image with outlines, segmented as a whole with these settings."""
        pixels = self.pixels(stem)
        found = self.segmenter.segment(pixels, diameter=diameter, cellprob_threshold=threshold)
        part = tuple(slice(start, start + SIZE) for start in corner)
        low, high = np.percentile(pixels, (1, 99.9))
        return render_preview(pixels[part], found.masks[part], intensity=(low, high))


def side_by_side(panels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return panels of one height in a row, with white between them."""
    height = min(len(panel) for panel in panels)
    white = np.full((height, GAP, 3), 255, np.uint8)
    row = [part for panel in panels for part in (panel[:height], white)]
    return np.concatenate(row[:-1], axis=1)


def smaller(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the most coloured pixel of each square, so that outlines stay whole."""
    height, width = (length // factor for length in picture.shape[:2])
    cut = picture[: height * factor, : width * factor]
    squares = cut.reshape(height, factor, width, factor, 3).swapaxes(1, 2)
    pixels = squares.reshape(height, width, factor * factor, 3)
    chosen = np.ptp(pixels, axis=3).argmax(axis=2)
    return np.take_along_axis(pixels, chosen[..., None, None], axis=2)[:, :, 0]


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(data: Path) -> None:
    """Make all pictures anew."""
    FOLDER.mkdir(exist_ok=True)
    painter = Painter(data)
    large = painter.panel(LARGE, 50, (180, 0))
    pairs = {
        "split": (painter.panel(LARGE, 17, (0, 150)), painter.panel(LARGE, 50, (0, 150))),
        "merged": (painter.panel(LARGE, 125, (180, 0)), large),
        "missed": (
            painter.panel(FAINT, 34, (60, 0), threshold=5),
            painter.panel(FAINT, 34, (60, 0)),
        ),
    }
    for name, pair in pairs.items():
        save_png(FOLDER / f"{name}.png", smaller(side_by_side(list(pair)), 2))
    organoid = demo()
    found = painter.segmenter.segment(organoid.image, diameter=27, anisotropy=2.0)
    middle = len(found.masks) // 2
    plane = render_preview(organoid.image[middle], found.masks[middle])
    row = [large, painter.panel(ROUND, 20, (0, 0)), plane[: len(large), : len(large)]]
    save_png(FOLDER / "start.png", smaller(side_by_side(row), 2))


if __name__ == "__main__":
    main()
