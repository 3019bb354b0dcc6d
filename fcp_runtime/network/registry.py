"""Which models there are: the shipped ones from their manifest, and a user's own by path."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import FcpWarning, ModelError
from fcp_runtime.network.session import open_session, run_tile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

MULTIPLES = ("8", "16", "32", "64")
"""What the sides of a tile may have to be multiples of: the least tile edge is 64."""

DIAM_MEAN = 17.0
"""Object diameter, in network pixels, of a model that states none: Cellpose's for nuclei."""


TRIAL = 64
"""Height of the tile of noise that a user's own model is tried out on; it is a little wider."""

DIAM_MEANS = (1.0, 1000.0)
"""Object diameters that a model may state: beyond, tiles would hold a part of one object, or objects
would be smaller than a pixel."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a model; the fields of its entry in ``models/manifest.json``.

    Attributes
    ----------
    key : str
        Name of the architecture; of a user's own file its path.
    file : str
        File name.
    sha256 : str
        Hash of the file, hexadecimal.
    bytes : int
        Size of the file.
    diam_mean : float
        Object diameter that the network expects, in network pixels.
    tile, overlap : int
        Largest tile edge and least overlap of tiles that suit it, in network pixels.
    multiple : int
        Height and width of what the network sees must be multiples of it.
    parameters : int or None
        Trained numbers; None where unknown, as all that follows may be empty.
    macs_1024 : int or None
        Multiply-accumulates on 1024x1024 pixels, convolutions and linear layers only.
    training_data, licences : tuple of str
        Sources it was trained on, and their licences.
    teacher : str
        The network it was distilled from.
    accuracy : mapping
        Measured accuracy.
    made_with : mapping
        Versions of the software that made the file.
    """

    key: str
    file: str
    sha256: str
    bytes: int
    diam_mean: float
    tile: int = 224
    overlap: int = 16
    multiple: int = 8
    parameters: int | None = None
    macs_1024: int | None = None
    training_data: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    teacher: str = ""
    accuracy: Mapping[str, Any] | None = None
    made_with: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Model:
    """A model that has been read and checked.

    Attributes
    ----------
    info : ModelInfo
        What is known about it.
    content : bytes
        The ONNX file.
    """

    info: ModelInfo
    content: bytes


def list_models(folder: Traversable | None = None) -> list[ModelInfo]:
    """Return the shipped models, in the order of the manifest.

    Parameters
    ----------
    folder : Traversable or None
        Where ``manifest.json`` and the models lie; None is the installed ``fcp_runtime._models``.

    Raises
    ------
    ModelError
        If the manifest is damaged.
    """
    manifest = _shipped(folder).joinpath("manifest.json")
    if not manifest.is_file():
        return []
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["models"]
        return [_info(key, entry) for key, entry in entries.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{manifest}: damaged ({type(error).__name__}: {error}); install the package again"
        ) from error


def _info(key: str, entry: dict[str, Any]) -> ModelInfo:
    """Return one entry of the manifest; what a later version added to it is passed over."""
    known = {field.name for field in fields(ModelInfo)} & entry.keys()
    values = {name: entry[name] for name in known}
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return ModelInfo(**(values | lists | {"key": key}))


def load_model(name_or_path: str | Path, folder: Traversable | None = None) -> Model:
    """Read a model once and check it.

    Parameters
    ----------
    name_or_path : str or Path
        Key of a shipped model, or path of an ONNX file of the documented form.
    folder : Traversable or None
        As for `list_models`.

    Raises
    ------
    ModelError
        If the name is unknown, or the file is missing, damaged or of another form.
    """
    name = str(name_or_path)
    models = {info.key: info for info in list_models(folder)}
    if name in models:
        return _load_shipped(models[name], _shipped(folder))
    path = Path(name)
    if path.suffix == ".onnx" or path.is_file():
        return _load_own(path)
    keys = ", ".join(models) or "none"
    raise ModelError(f"no model {name}: shipped are {keys}; the path of an .onnx file works too")


def _shipped(folder: Traversable | None) -> Traversable:
    """Return the folder of the shipped models."""
    if folder is not None:
        return folder
    try:
        return resources.files("fcp_runtime._models")
    except ModuleNotFoundError:
        raise ModelError(
            "no models beside fcp_runtime: this is a source tree that is not installed; "
            "run pip install -e . in it, or work in another folder"
        ) from None


def _load_shipped(info: ModelInfo, folder: Traversable) -> Model:
    """Read a shipped model, whose hash must be that of the manifest."""
    content = _read(folder.joinpath(info.file))
    if hashlib.sha256(content).hexdigest() != info.sha256:
        raise ModelError(
            f"{info.file}: damaged, it is not the file that the manifest describes; "
            "install the package again"
        )
    return Model(info, content)


def _load_own(path: Path) -> Model:
    """Read a user's own model."""
    content = _read(path)
    session = open_session(content, str(path))
    meta = session.get_modelmeta().custom_metadata_map
    multiple = _multiple(meta, path)
    shape = 1, 1, TRIAL, TRIAL + multiple
    run_tile(session, np.random.default_rng(0).normal(size=shape).astype(np.float32), str(path))
    return Model(
        ModelInfo(
            key=str(path),
            file=str(path),
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            diam_mean=_diam_mean(meta, path),
            multiple=multiple,
        ),
        content,
    )


def _multiple(meta: Mapping[str, str], path: Path) -> int:
    """Return what a file says its sides must be multiples of; 8, as in Cellpose's, if nothing."""
    stated = meta.get("multiple", "8")
    if stated not in MULTIPLES:
        raise ModelError(
            f"{path}: multiple in its metadata is {stated!r}; it must be one of "
            f"{', '.join(MULTIPLES)}"
        )
    return int(stated)


def _diam_mean(meta: Mapping[str, str], path: Path) -> float:
    """Return the diameter that a file states, or the usual one with a warning."""
    stated = meta.get("diam_mean")
    if stated is None:
        warnings.warn(
            f"{path}: its metadata state no diam_mean, taken as {DIAM_MEAN:g} pixels",
            FcpWarning,
            stacklevel=4,
        )
        return DIAM_MEAN
    try:
        value = float(stated)
    except ValueError:
        value = 0.0
    least, most = DIAM_MEANS
    if not least <= value <= most:
        raise ModelError(
            f"{path}: diam_mean in its metadata is {stated[:40]!r}, not {least:g} to {most:g} pixels"
        )
    return value


def _read(file: Traversable) -> bytes:
    """Return the content of a model file."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: cannot read this model ({error.strerror})") from error
