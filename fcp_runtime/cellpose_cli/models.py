"""Which of our networks stands in for a network of Cellpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fcp_runtime.errors import ModelError
from fcp_runtime.network.registry import list_models
from fcp_runtime.settings import Settings

NUCLEI = ("nuclei", "nucleitorch_0", "nucleitorch_1", "nucleitorch_2", "nucleitorch_3")
CELLS = (
    *("cpsam", "cyto3", "cyto2", "cyto", "cytotorch_0", "cyto2torch_0", "cyto2_cp3", "general"),
    *("CP", "CPx", "TN1", "TN2", "TN3", "tissuenet", "tissuenet_cp3", "transformer_cp3"),
    *("neurips_cellpose_default", "neurips_cellpose_transformer", "neurips_grayscale_cyto2"),
)
OTHERS = (
    *("livecell", "livecell_cp3", "LC1", "LC2", "LC3", "LC4", "yeast_PhC_cp3", "yeast_BF_cp3"),
    *("bact_phase_cp3", "bact_fluor_cp3", "deepbacs_cp3"),
    *("bact_phase_omni", "bact_fluor_omni", "worm_omni"),
)
"""Networks for what is no nucleus: bacteria, yeast, cells in phase contrast."""

UNNAMED = ("None", "False", "0", "")
"""Cellpose's words for no network."""


@dataclass(frozen=True)
class ModelChoice:
    """A network of ours, and what must be said about it.

    Attributes
    ----------
    model : str
        Key or path, as `Segmenter` takes it.
    word : str
        For the log; empty where the caller named the network itself.
    differs : bool
        The caller asked for a network that finds something else than nuclei.
    """

    model: str
    word: str = ""
    differs: bool = False


def choose_model(name: str | None) -> ModelChoice:
    """Return the network for what ``--pretrained_model`` names.

    Parameters
    ----------
    name : str or None
        A model of Cellpose, a model of ours, or the path of an ONNX file.

    Returns
    -------
    ModelChoice

    Raises
    ------
    ModelError
        If there is none: a torch file, a model for bacteria, an unknown name.
    """
    default = Settings().model
    ours = [info.key for info in list_models()]
    if name is None or name in UNNAMED:
        return ModelChoice(default)
    if name in ours or name.lower().endswith(".onnx"):
        return ModelChoice(name)
    if name in NUCLEI:
        return ModelChoice(default, f"model {default} in place of {name}")
    if name in CELLS:
        return ModelChoice(
            default, f"model {default} in place of {name}: it finds nuclei, not whole cells", True
        )
    if name in OTHERS:
        raise ModelError(
            f"--pretrained_model {name}: our networks find nuclei, not what this one was made for; "
            "use Cellpose"
        )
    if Path(name).is_file():
        raise ModelError(
            f"--pretrained_model {name}: is no ONNX file; networks of Cellpose need torch: make a "
            "student of yours with fcp-distill and fcp-export, or name one of " + ", ".join(ours)
        )
    raise ModelError(
        f"--pretrained_model {name}: no such model or file; name one of {', '.join(ours)}, the "
        "path of an ONNX file, or a model of Cellpose (nuclei, cyto3, cpsam)"
    )
