"""What a network was made of: data and licences, those of the weights it started from included."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING, Any

from fcp_export.data.slices import PHANTOM
from fcp_runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from fcp_export.distill.settings import DistillSettings
    from fcp_runtime.evaluate.manifest import Row

PROVENANCE: dict[str, Any] = {
    "training_data": [],
    "licences": [],
    "teacher": "",
    "recipe": {},
    "accuracy": {},
}
"""What only the maker of a checkpoint knows, and what stands for it where it is not told."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; the shipped manifest knows its checkpoints by it.

    Raises
    ------
    ModelError
        If the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot read this checkpoint ({error.strerror})") from error


def provenance_of_run(
    rows: Sequence[Row], settings: DistillSettings, teacher: str, init: Path | None
) -> dict[str, Any]:
    """Return what a run's network is made of.

    Parameters
    ----------
    rows : sequence of Row
        What it learnt from.
    settings : DistillSettings
    teacher : str
        What its targets are from.
    init : Path or None
        Weights it started from: their data and licences are its own, too.
    """
    sources = {row.source for row in rows}
    licences = {f"{row.source}: {row.licence}" for row in rows}
    recipe = asdict(settings)
    if settings.data.phantoms:
        sources.add(PHANTOM)
    if init is not None:
        digest = file_digest(init)
        before = known_provenance(init, digest, {})
        unknown = f"{init.name}: not stated"
        sources.update(before["training_data"] or [unknown])
        licences.update(before["licences"] or [unknown])
        recipe["init"] = f"{init.name} ({digest[:16]})"
    return {
        "training_data": sorted(sources, key=lambda name: (name == PHANTOM, name)),
        "licences": sorted(licences),
        "teacher": teacher,
        "recipe": recipe,
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the entries of a manifest of models, none if there is no file.

    Raises
    ------
    ModelError
        If it is damaged.
    """
    if not path.exists():
        return {}
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {key: dict(entry) for key, entry in models.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: not a manifest of models ({type(error).__name__}); move it away"
        ) from error


def known_provenance(
    checkpoint: Path | Traversable, digest: str, old: dict[str, Any]
) -> dict[str, Any]:
    """Return what is told of a checkpoint.

    In this order: the JSON file beside it; the old entry, the manifest beside it, then the shipped
    one, if they are about these very weights; nothing.

    Parameters
    ----------
    checkpoint : Path or Traversable
    digest : str
        SHA-256 of its ``.safetensors`` file.
    old : dict
        An entry of a manifest.

    Raises
    ------
    ModelError
        If one of these files is damaged.
    """
    known = dict(PROVENANCE)
    with (
        resources.as_file(resources.files("fcp_runtime._models") / "manifest.json") as shipped,
        resources.as_file(checkpoint) as path,
    ):
        beside = path.with_suffix(".json")
        neighbours = read_manifest(path.parent / "manifest.json")
        for entry in (*read_manifest(shipped).values(), *neighbours.values(), old):
            if entry.get("checkpoint_sha256") == digest:
                known |= {name: entry[name] for name in PROVENANCE if name in entry}
        if not beside.is_file():
            return known
        try:
            told = dict(json.loads(beside.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"{beside}: not a JSON object ({error}); mend or remove it") from error
    unknown = sorted(told.keys() - PROVENANCE.keys())
    if unknown:
        raise ModelError(f"{beside}: unknown {', '.join(unknown)}; known: {', '.join(PROVENANCE)}")
    return known | told
