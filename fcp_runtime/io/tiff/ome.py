"""OME-XML in TIFF: which planes make up which image, and in which files they lie.

Files of a set each describe all images of the set. The image that a file is taken for is the one
whose planes it holds itself; names of other files are looked for beside it and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from fcp_runtime.errors import InputError
from fcp_runtime.io.checks import damaged, first_bytes
from fcp_runtime.io.tiff.chain import read_chain

if TYPE_CHECKING:
    from pathlib import Path

COMPANION = 64 << 20
"""Largest size of a file of OME-XML, in bytes."""


@dataclass(frozen=True)
class OmeImage:
    """An image that OME-XML describes.

    Attributes
    ----------
    element : Element
        Its ``Pixels``.
    label : str
        Its name, for messages.
    axes : str
        Of its planes, slowest first: an order of T, C and Z.
    shape : tuple of int
        Length of each of ``axes``; channels that are samples of a colour count as one.
    size : tuple of int
        Rows and columns.
    planes : dict of int to tuple
        File name (empty for the file itself) and number of the directory, by place in ``axes`` order.
    """

    element: ET.Element
    label: str
    axes: str
    shape: tuple[int, ...]
    size: tuple[int, int]
    planes: dict[int, tuple[str, int]] = field(repr=False)

    @property
    def count(self) -> int:
        """Number of planes that it must have."""
        return math.prod(self.shape)

    @property
    def own(self) -> bool:
        """Whether a plane lies in the file itself."""
        return any(not file for file, _ in self.planes.values())

    @property
    def words(self) -> str:
        """A few words for lists."""
        return self.label or "no name"


def is_ome(description: str) -> bool:
    """Return whether the description of a TIFF's first page is OME-XML.

    Examples
    --------
    >>> is_ome('<?xml version="1.0"?><OME xmlns="..."></OME>'), is_ome("ImageJ=1.54f")
    (True, False)
    """
    text = description.strip()
    return text.startswith("<") and (text.endswith("OME>") or "<OME" in text[:2000])


def ome_root(description: str, path: Path, name: str) -> ET.Element:
    """Parse OME-XML; of a file that only names where its OME-XML is, parse that.

    Parameters
    ----------
    description : str
        Of the first page.
    path : Path
        The file.
    name : str
        How messages call it.

    Raises
    ------
    InputError
        If it is no XML, or in a file that is not there.
    """
    root = _parse(description, name)
    pointer = root.find("{*}BinaryOnly")
    if pointer is None:
        return root
    beside = pointer.get("MetadataFile", "")
    companion = _beside(path, beside, name)
    if not companion.exists():
        raise InputError(
            f"{name}: its metadata are in {beside}, which is not beside it; copy it there, or name "
            "the axes, for example --axes ZYX"
        )
    start = first_bytes(companion, str(companion))
    if companion.stat().st_size > COMPANION and not start.startswith((b"II", b"MM")):
        raise InputError(f"{companion}: is too large for OME-XML")
    if start.startswith((b"II", b"MM")):
        import tifffile

        read_chain(companion, str(companion))
        with tifffile.TiffFile(companion) as tif:
            root = _parse(tif.pages.first.description, name)
    else:
        root = _parse(companion.read_bytes(), name)
    if root.find("{*}BinaryOnly") is not None:
        raise damaged(name, f"{beside} holds no metadata")
    root.set("UUID", pointer.get("UUID", ""))  # of this file, not of the one that was read
    return root


def _parse(text: str | bytes, name: str) -> ET.Element:
    if isinstance(text, str):
        text = text.strip().encode()
    try:
        return ET.fromstring(text)  # noqa: S314 (expat bounds entities)
    except (ET.ParseError, ValueError) as error:
        raise damaged(name, f"its OME-XML: {error}") from error


def ome_images(root: ET.Element, path: Path, pages: int, samples: int, name: str) -> list[OmeImage]:
    """Return the images that OME-XML describes.

    Parameters
    ----------
    root : Element
    path : Path
        The file that it describes.
    pages : int
        Number of directories in that file.
    samples : int
        Samples of each of their pixels.
    name : str
        How messages call the file.

    Raises
    ------
    InputError
        If a size is no number, or a name leads out of the folder.
    """
    named = {
        uuid.get("FileName", "") for uuid in root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID")
    } - {""}
    # a file alone that was given another name
    alone = next(iter(named)) if len(named) == 1 else None
    renamed = alone is not None and alone == _bare(alone) and not (path.parent / alone).exists()
    images = []
    for element in root.iterfind("{*}Image"):
        pixels = element.find("{*}Pixels")
        if pixels is not None:
            own = {"", path.name, alone if renamed else ""}
            images.append(
                _image(element, pixels, root.get("UUID") or "", own, (pages, samples), path, name)
            )
    return images


def _bare(file_name: str) -> str:
    return file_name.replace("\\", "/").rsplit("/", 1)[-1]


def _beside(path: Path, file_name: str, name: str) -> Path:
    """Return the file of a name beside ``path``."""
    if not file_name or file_name != _bare(file_name) or "\0" in file_name:
        raise InputError(
            f"{name}: its OME-XML names a file outside its folder ({file_name!r}); "
            "export it again, or name the axes with --axes to read its own pages"
        )
    return path.parent / file_name


def _image(
    element: ET.Element,
    pixels: ET.Element,
    uuid: str,
    own: set[str | None],
    held: tuple[int, int],
    path: Path,
    name: str,
) -> OmeImage:
    """Read the sizes of an image, and where its planes are."""
    sizes = {axis: _number(pixels, f"Size{axis}", 1, name) for axis in "XYZCT"}
    order = pixels.get("DimensionOrder", "XYCZT").upper()
    if sorted(order) != sorted("XYZCT") or not order.startswith("XY") or min(sizes.values()) < 1:
        raise damaged(name, "its OME-XML states impossible sizes or orders of axes")
    pages, samples = held
    if samples > 1 and sizes["C"] % samples == 0:
        sizes["C"] //= samples
    axes = order[:1:-1]
    shape = tuple(sizes[axis] for axis in axes)
    planes: dict[int, tuple[str, int]] = {}
    blocks = pixels.findall("{*}TiffData") or [ET.Element("TiffData")]
    for block in blocks:
        file = _file_of(block, uuid, own, path, name)
        first = _number(block, "IFD", 0, name)
        whole = block.get("IFD") is None and block.get("PlaneCount") is None
        # what is more than all directories of the file is missing: nothing so long is counted
        most = _number(block, "PlaneCount", pages if whole else 1, name)
        most = min(most, pages if not file else most, math.prod(shape), 1_000_000)
        index = {
            axis: _number(block, f"First{axis}", 0, name) // (samples if axis == "C" else 1)
            for axis in axes
        }
        if any(index[axis] >= size for axis, size in zip(axes, shape, strict=True)):
            raise damaged(name, "its OME-XML places planes outside their image")
        place = 0
        for axis, size in zip(axes, shape, strict=True):
            place = place * size + index[axis]
        for step in range(most):
            if place + step < math.prod(shape):
                planes.setdefault(place + step, (file, first + step))
    label = element.get("Name") or element.get("ID") or ""
    return OmeImage(pixels, label, axes, shape, (sizes["Y"], sizes["X"]), planes)


def _file_of(block: ET.Element, uuid: str, own: set[str | None], path: Path, name: str) -> str:
    """Return the name of the file that holds some planes; empty for the file itself."""
    named = block.find("{*}UUID")
    if named is None:
        return ""
    file = named.get("FileName", "")
    if (
        file in own
        or _bare(file) == path.name
        or (uuid and (named.text or "").strip() == uuid.strip())
    ):
        return ""
    return _beside(path, file, name).name


def _number(element: ET.Element, key: str, default: int, name: str) -> int:
    """Return a whole number of an element that is not negative."""
    text = element.get(key)
    if text is None:
        return default
    if not text.strip().isdecimal() or len(text) > 18:
        raise damaged(name, f"its OME-XML says {key}={text[:20]!r}")
    return int(text)
