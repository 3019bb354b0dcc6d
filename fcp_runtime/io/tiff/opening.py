"""Open a TIFF: which of its pages make up the wanted image.

OME-XML and Micro-Manager's index are read here, other kinds by tifffile; whatever the kind, what
the description promises is compared with what is there.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import tifffile

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.axes import squeeze
from fcp_runtime.io.checks import AGAIN, cut_short, damaged, first_bytes
from fcp_runtime.io.stored import Request, choose_series
from fcp_runtime.io.tiff.chain import Directory, read_chain
from fcp_runtime.io.tiff.file import TiffImage
from fcp_runtime.io.tiff.micromanager import AXES, Position, further_parts, positions
from fcp_runtime.io.tiff.ome import OmeImage, is_ome, ome_images, ome_root
from fcp_runtime.io.tiff.pages import check_pages, check_segments
from fcp_runtime.io.tiff.promises import check_promise, scanimage_axes
from fcp_runtime.io.tiff.shown import Shown, shown_levels
from fcp_runtime.io.tiff.voxels import Facts, ome_facts, tiff_facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KNOWN = "TCZYXSQI"
"""Axes of one image, and the letters of unknown ones; others count positions, angles and so on."""

HARMLESS = {271, 272, 305, 306, 315, 316, 700, 33432, 34377, 34665, 34675, 34853, 37724}
"""Tags about cameras, people and colours: damage to them changes no pixel."""

GRAVE = re.compile(
    r"TiffTag|series|pages?\b|offset|count|frames|missing|truncat|incomplete|corrupt|out of range"
    r"|failed to read|imagej_metadata",
    re.IGNORECASE,
)
"""Complaints of tifffile after which pixels may be zeros, or of another shape."""

MOST_FILES = 1000
JPEG_XR = {22610, 34934}
"""Its codec writes about damage straight to the screen."""


@dataclass(frozen=True)
class OpenTiff:
    """A TIFF on its way to an image.

    Attributes
    ----------
    tif : TiffFile
    chain : list of Directory
        Its directories.
    path : Path
    name : str
        How messages call it.
    request : Request
    complaints : list of str
        What tifffile has logged.
    """

    tif: tifffile.TiffFile
    chain: list[Directory]
    path: Path
    name: str
    request: Request
    complaints: list[str]


@contextmanager
def tiff_image(path: Path, name: str, request: Request) -> Iterator[TiffImage]:
    """Open an image of a TIFF, at full resolution.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        How messages call it.
    request : Request
        Which image; axes that the user states stand in for metadata that do not fit the pages.

    Yields
    ------
    TiffImage

    Raises
    ------
    InputError
        If it is damaged, cut short, or holds several images and none is chosen.
    """
    chain = read_chain(path, name)
    with _captured_log() as complaints, ExitStack() as files:
        with _library_errors(name):
            tif = files.enter_context(tifffile.TiffFile(path))
            opened = OpenTiff(tif, chain, path, name, request, complaints)
            try:
                image = _described(opened, files)
            except InputError as error:
                if request.axes is None or request.series is not None:
                    raise
                image = _undescribed(opened, error)
        yield image


@contextmanager
def _library_errors(name: str) -> Iterator[None]:
    """Turn whatever tifffile raises for a damaged file into an InputError."""
    try:
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{name}: does not fit in memory") from error
    except Exception as error:
        raise damaged(name, error) from error
    for warning in noted:  # ours are passed on, those of libraries are not for users
        if issubclass(warning.category, FcpWarning):
            warnings.warn(str(warning.message), FcpWarning, stacklevel=4)


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect what tifffile reports in this thread, and keep its log off the screen."""
    complaints: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING and record.thread == thread:
                complaints.append(record.getMessage())

    collector = Collector()
    logger = logging.getLogger("tifffile")
    logger.addHandler(collector)
    try:
        yield complaints
    finally:
        logger.removeHandler(collector)


def _described(opened: OpenTiff, files: ExitStack) -> TiffImage:
    """Find the wanted image by what the file says of itself."""
    tif = opened.tif
    _check_complaints(opened)
    if tif.is_micromanager:
        found = positions(tif)
        if found == []:  # tifffile would make a list of as many planes as it claims
            raise damaged(opened.name, "its Micro-Manager index claims impossible planes")
        if found is not None:
            return _of_micromanager(opened, found, files)
    description = tif.pages.first.description
    if is_ome(description) and not (tif.is_lsm or tif.is_shaped):
        return _of_ome(opened, description, files)
    if not tif.series:
        raise InputError(f"{opened.name}: holds no image; {AGAIN}")
    series, kind = _chosen_series(opened), tif.series[0].kind
    check_promise(tif, series, opened.name)
    _check_complaints(opened)
    if kind == "generic" or (kind == "uniform" and tif.is_micromanager):
        _check_positions(tif, opened.name)
    return _image(opened, _without_positions(series, opened), tiff_facts(kind, tif))


def _check_complaints(opened: OpenTiff) -> None:
    """Refuse what tifffile complains about: it goes on with zeros or other shapes."""
    for complaint in opened.complaints:
        tag = re.search(r"TiffTag (\d+)", complaint)
        if GRAVE.search(complaint) and (tag is None or int(tag[1]) not in HARMLESS):
            raise damaged(opened.name, complaint)


def _check_positions(tif: tifffile.TiffFile, name: str) -> None:
    """Refuse to take pages of a Micro-Manager file without an index for planes."""
    if tif.is_micromanager:
        raise damaged(name, "its Micro-Manager index cannot be read; name the axes with --axes")


def _undescribed(opened: OpenTiff, reason: InputError) -> TiffImage:
    """Take the pages of the first one's form as they come: the user has said what their axes are."""
    form = opened.chain[0].form
    numbers = [at for at, page in enumerate(opened.chain) if page.form == form]
    pages = _pages(opened.tif, numbers, opened)
    keyframe = pages[0].keyframe
    axes, shape = f"I{keyframe.axes}", (len(pages), *keyframe.shape)
    series = tifffile.TiffPageSeries(
        pages, shape, keyframe.dtype, axes, parent=opened.tif, kind="uniform", squeeze=False
    )
    image = _image(opened, series, Facts())
    cause = str(reason).removeprefix(f"{opened.name}: ")
    warnings.warn(
        f"{opened.name}: its {len(pages)} pages are read with --axes {opened.request.axes}, "
        f"although: {cause}",
        FcpWarning,
        stacklevel=2,
    )
    return image


def _pages(tif: tifffile.TiffFile, numbers: list[int], opened: OpenTiff) -> list[Any]:
    """Return pages of one form, all but the first as light frames."""
    if not numbers or max(numbers) >= len(tif.pages):
        raise damaged(opened.name, "its metadata name pages that are not there")
    tif.pages.useframes = True
    tif.pages.set_keyframe(numbers[0])
    return [tif.pages[number] for number in numbers]


def _of_micromanager(opened: OpenTiff, found: list[Position], files: ExitStack) -> TiffImage:
    """Take the planes of one position by Micro-Manager's index."""
    words = [f"position {position.number}" for position in found]
    position = found[choose_series(words, opened.request.series, opened.name)]
    count = math.prod(position.shape)
    sources = [(opened.tif, opened.chain, position.offsets)]
    have = len(position.offsets)
    for part in further_parts(opened.path) if have < count else []:
        tif, chain = _open_beside(part, files)
        others = [each for each in positions(tif) or [] if each.number == position.number]
        if others and others[0].shape == position.shape:
            sources.append((tif, chain, others[0].offsets))
    pages: list[Any] = [None] * count
    for tif, chain, offsets in sources:
        places = {directory.offset: at for at, directory in enumerate(chain)}
        held = {place: places[at] for place, at in offsets.items() if at in places}
        _same_form([chain[at] for at in held.values()], opened)
        for place, page in zip(held, _pages(tif, list(held.values()), opened), strict=True):
            pages[place] = page
    series = _series(opened, pages, AXES, position.shape, multifile=len(sources) > 1)
    facts = tiff_facts("mmstack", opened.tif)
    description = opened.tif.pages.first.description
    if is_ome(description) and (facts.x is None or facts.z is None):
        pixels = ome_root(description, opened.path, opened.name).find("{*}Image/{*}Pixels")
        stated = Facts() if pixels is None else ome_facts(pixels)
        facts = replace(facts, z=facts.z or stated.z, y=facts.y or stated.y, x=facts.x or stated.x)
    return _image(opened, series, facts)


def _same_form(directories: list[Directory], opened: OpenTiff) -> None:
    if not directories:
        raise damaged(opened.name, "its metadata name pages that are not there")
    if any(directory.form != directories[0].form for directory in directories):
        raise damaged(opened.name, "pages of one image differ in size or type")


def _open_beside(path: Path, files: ExitStack) -> tuple[tifffile.TiffFile, list[Directory]]:
    """Open another file of a set; it stays closed but while a plane is read."""
    first_bytes(path, str(path))
    chain = read_chain(path, str(path))
    tif = files.enter_context(tifffile.TiffFile(path))
    return tif, chain


def _of_ome(opened: OpenTiff, description: str, files: ExitStack) -> TiffImage:
    """Take the image whose planes the file holds itself, or the one that is asked for."""
    root = ome_root(description, opened.path, opened.name)
    samples = opened.tif.pages.first.samplesperpixel
    images = ome_images(root, opened.path, len(opened.chain), samples, opened.name)
    image = _own_image(images, opened)
    planes = image.planes
    there = {file: not file or (opened.path.parent / file).exists() for file, _ in planes.values()}
    planes = {place: source for place, source in planes.items() if there[source[0]]}
    if len(planes) < image.count:
        raise InputError(
            f"{opened.name}: {image.count - len(planes):,} of its {image.count:,} planes are "
            "missing; it is cut short, or belongs to a set of files that "
            "must lie beside it; --axes reads its pages by themselves"
        )
    by_file: dict[str, list[tuple[int, int]]] = {}
    for place, (file, page) in sorted(planes.items()):
        by_file.setdefault(file, []).append((place, page))
    if len(by_file) > MOST_FILES:
        raise InputError(f"{opened.name}: is a set of more than {MOST_FILES} files")
    pages: list[Any] = [None] * image.count
    forms = []
    for file, wanted in by_file.items():
        tif, chain = opened.tif, opened.chain
        if file:
            tif, chain = _open_beside(opened.path.parent / file, files)
        numbers = [page for _, page in wanted]
        if max(numbers) >= len(chain):
            raise damaged(opened.name, f"its OME-XML names page {max(numbers) + 1} of {len(chain)}")
        forms += [chain[number] for number in numbers]
        found = _pages(tif, numbers, opened)
        for (place, _), page in zip(wanted, found, strict=True):
            pages[place] = page
        if file:
            tif.filehandle.close()
    _same_form(forms, opened)
    keyframe = pages[0].keyframe
    if (keyframe.imagelength, keyframe.imagewidth) != image.size:
        raise damaged(
            opened.name,
            f"its OME-XML says {image.size[0]} x {image.size[1]} pixels, its pages have "
            f"{keyframe.imagelength} x {keyframe.imagewidth}",
        )
    multifile = set(by_file) != {""}
    series = _series(opened, pages, image.axes, image.shape, multifile=multifile)
    return _image(opened, series, ome_facts(image.element))


def _own_image(images: list[OmeImage], opened: OpenTiff) -> OmeImage:
    """Return the wanted image of an OME-TIFF: by default the only one that the file holds itself."""
    words = [image.words for image in images]
    if not images:
        raise damaged(opened.name, "its OME-XML describes no image")
    if opened.request.series is not None:
        return images[choose_series(words, opened.request.series, opened.name)]
    own = [image for image in images if image.own]
    if not own:
        raise InputError(
            f"{opened.name}: its OME-XML places all images in other files; choose one with "
            f"--series 0 to {len(images) - 1}, or name the axes of its own pages with --axes"
        )
    first, *others = own
    if not others:
        return first
    if all(math.prod(other.size) < math.prod(first.size) for other in others):
        _warn_of_others(opened.name, len(own))
        return first
    return images[choose_series(words, None, opened.name)]


def _series(
    opened: OpenTiff, pages: list[Any], axes: str, shape: tuple[int, ...], *, multifile: bool
) -> tifffile.TiffPageSeries:
    """Make a series of pages in the order of ``axes``."""
    if None in pages:
        check_pages(pages, len(pages), 0, opened.name)
    keyframe = pages[0].keyframe
    return tifffile.TiffPageSeries(
        pages,
        (*shape, *keyframe.shape),
        keyframe.dtype,
        axes + keyframe.axes,
        parent=opened.tif,
        kind="ome",
        multifile=multifile,
        squeeze=False,
    )


def _chosen_series(opened: OpenTiff) -> Any:
    """Return the wanted series; smaller ones behind the first are thumbnails and labels of slides."""
    every, wanted, name = opened.tif.series, opened.request.series, opened.name
    first, *others = every
    inner = any(letter not in KNOWN for letter in first.get_axes(squeeze=False))
    if others and (
        wanted is not None or any(other.keyframe.size >= first.keyframe.size for other in others)
    ):
        words = [series.name or "x".join(map(str, series.shape)) for series in every]
        return every[choose_series(words, wanted, name)]
    if not all(other.keyframe.is_reduced for other in others):
        _warn_of_others(name, len(every))
    if wanted and not inner:
        choose_series([first.name or "image"], wanted, name)
    return first


def _warn_of_others(name: str, count: int) -> None:
    warnings.warn(
        f"{name}: holds {count} images; the first, the largest, is used", FcpWarning, stacklevel=3
    )


def _without_positions(series: Any, opened: OpenTiff) -> Any:
    """Choose along an axis of positions, angles or the like: they are images, never planes."""
    axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    odd = [at for at, axis in enumerate(axes) if axis not in KNOWN]
    lead = len(axes) - len(series.keyframe.axes)
    if series.kind == "scanimage":
        described = scanimage_axes(opened.tif)
        if described is not None:
            axes, shape = described[0] + series.keyframe.axes, described[1] + series.keyframe.shape
    elif not any(shape[at] > 1 for at in odd):
        return series
    chosen = slice(0, len(series))
    if odd:
        if any(at >= lead for at in odd) or odd != list(range(len(odd))) or len(series) < 2:
            raise InputError(
                f"{opened.name}: has axes {axes} that are no planes, channels or time points; "
                "save the wanted image as a file of its own"
            )
        count = math.prod(shape[at] for at in odd)
        words = [f"{axes[odd[0]]} {number}" for number in range(count)]
        number = choose_series(words, opened.request.series, opened.name)
        each = len(series) // count
        chosen = slice(number * each, (number + 1) * each)
        axes, shape = axes[len(odd) :], shape[len(odd) :]
    pages = list(series)[chosen]
    return tifffile.TiffPageSeries(
        pages,
        shape,
        series.dtype,
        axes,
        parent=opened.tif,
        kind=series.kind,
        multifile=series.is_multifile,
        squeeze=False,
    )


def _image(opened: OpenTiff, series: Any, facts: Facts) -> TiffImage:
    """Check the pages of a series, and make an image of it."""
    name, keyframe = opened.name, series.keyframe
    dtype = keyframe.dtype
    if dtype is None or dtype.kind not in "buif":
        raise InputError(
            f"{name}: its pixels ({dtype or 'of unknown type'}) are not real numbers; convert them"
        )
    if keyframe.compression in JPEG_XR:
        raise InputError(f"{name}: is compressed by JPEG XR; save it with another compression")
    axes, shape = series.get_axes(squeeze=False), tuple(map(int, series.get_shape(squeeze=False)))
    squeezed = squeeze(axes, shape)[1]
    tail = squeeze(keyframe.axes, keyframe.shape)[1]
    if 0 in shape:
        raise InputError(f"{name}: has no pixels ({' x '.join(map(str, shape))})")
    if squeezed[-len(tail) :] != tail:
        raise damaged(name, f"pages of {tail} do not make up an image of {squeezed}")
    offset = _offset(series, name)
    pages = [] if offset is not None else list(series)
    sparse = opened.request.allow_sparse
    if offset is None:
        count = math.prod(squeezed[: -len(tail)])
        check_pages(pages, count, series.nbytes, name, allow_sparse=sparse)
    else:
        check_segments(keyframe, 1, keyframe.parent.filehandle.size, name, allow_sparse=sparse)
    _check_complaints(opened)
    shown = Shown() if opened.request.as_stored else shown_levels(keyframe, name)
    text = f"{opened.tif.imagej_metadata} {opened.tif.pages.first.description}"
    return TiffImage(series, axes, shape, tail, offset, pages, facts, shown, text, name)


def _offset(series: Any, name: str) -> int | None:
    """Return where the pixels begin, if they are stored in a row, and check that all are there."""
    if series.dataoffset is None or series.is_multifile:
        return None
    offset = int(series.dataoffset)
    end = offset + math.prod(series.get_shape(squeeze=False)) * series.dtype.itemsize
    size = series.keyframe.parent.filehandle.size
    if end > size:
        raise cut_short(name, size, end)
    return offset
