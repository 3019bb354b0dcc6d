"""The models to compare: shipped ones, ONNX files, and checkpoints exported for the purpose."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fcp_runtime.errors import ModelError, SettingsError
from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fcp_export.architectures.networks import CellposeNet
    from fcp_export.architectures.unet import UNet

Role = Literal["student", "teacher", "reference", "left out", "compressed"]


@dataclass(frozen=True)
class Model:
    """A model that takes part.

    Attributes
    ----------
    name : str
        In tables and figures.
    location : str
        What `Segmenter` takes: the key of a shipped model or the path of an ONNX file.
    network : str
        Key of the architecture, as the file states it.
    sha256 : str
        Of the ONNX file.
    role : str
        ``"student"`` is compared with the one ``"teacher"``.
    diam_mean : float
        Diameter that the network expects, in network pixels.
    left_out : str
        Source that the model has never seen, for the role ``"left out"``.
    """

    name: str
    location: str
    network: str
    sha256: str
    role: Role
    diam_mean: float = 17.0
    left_out: str = ""

    @property
    def pixels(self) -> float:
        """Network pixels for one pixel of an image whose nuclei are 17 pixels wide."""
        return (self.diam_mean / 17.0) ** 2


def open_model(name: str, location: str, role: Role, *, left_out: str = "") -> Model:
    """Return the model of a shipped key or an ONNX file.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    loaded = load_model(location)
    meta = open_session(loaded.content, location).get_modelmeta().custom_metadata_map
    network = meta.get("key", "unknown")
    digest = hashlib.sha256(loaded.content).hexdigest()
    return Model(name, location, network, digest, role, loaded.info.diam_mean, left_out)


def from_argument(
    argument: str, role: Role, folder: Path, *, name: str = "", left_out: str = ""
) -> Model:
    """Return the model that ``MODEL`` or ``NAME=MODEL`` on the command line means.

    Parameters
    ----------
    argument : str
        ``MODEL`` is a shipped key, an ONNX file or a checkpoint (``.safetensors``, or ``.pt`` in
        Cellpose's format).
    role : str
    folder : Path
        For ONNX files made of checkpoints.
    name : str
        Used where the argument gives none; else the key or the file's stem.
    left_out : str

    Raises
    ------
    ModelError
        If there is no such model.
    """
    given, _, model = argument.rpartition("=")
    path = Path(model)
    title = given or name or (path.stem if path.suffix else model)
    if path.suffix in {".safetensors", ".pt"}:
        model = str(exported(path, folder))
    return open_model(title, model, role, left_out=left_out)


def exported(checkpoint: Path, folder: Path, key: str | None = None) -> Path:
    """Return the ONNX file of a checkpoint, made if it does not lie in the folder.

    Parameters
    ----------
    checkpoint : Path
    folder : Path
    key : str or None
        Network to load it into; None takes the one that it fits.

    Raises
    ------
    ModelError
        If it is missing or fits no network.
    """
    from fcp_export.export import onnx_bytes, read_checkpoint
    from fcp_runtime.io.atomic import replacing

    if not checkpoint.is_file():
        raise ModelError(f"{checkpoint}: no such checkpoint")
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:12]
    path = folder / f"{key or checkpoint.stem}-{digest}.onnx"
    if not path.exists():
        net = read_checkpoint(checkpoint, key)[0] if key else fitting_network(checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(onnx_bytes(net))
    return path


def fitting_network(checkpoint: Path) -> CellposeNet | UNet:
    """Read a checkpoint into the network that it belongs to.

    Raises
    ------
    ModelError
        If it fits none of the ten.
    """
    from fcp_export.architectures.networks import SPECS
    from fcp_export.export import read_checkpoint

    # the dilated network takes checkpoints with entries left over, so it comes last
    for key in sorted(SPECS, key=lambda key: key == "dilated"):
        try:
            return read_checkpoint(checkpoint, key)[0]
        except ModelError:
            continue
    raise ModelError(f"{checkpoint}: a checkpoint of none of the networks {', '.join(SPECS)}")


def check_names(models: Sequence[Model]) -> None:
    """Raise SettingsError if two models bear one name."""
    names = [one.name for one in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"two models are called {', '.join(twice)}; name them NAME=MODEL")
