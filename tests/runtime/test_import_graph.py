"""Rooms import in one direction only, and no module imports itself by way of others."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fcp_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(fcp_runtime.__file__).parent
ORDER = (
    "_models",
    "errors",
    "machine",
    "grid",
    "fields",
    "setting_rows",
    "settings",
    "io",
    "network",
    "sampling",
    "masks",
    "tracks",
    "segmentation",
    "resolve",
    "diameter",
    "segmenter",
    "film",
    "forecast",
    "phantom",
    "outputs",
    "evaluate",
    "blocks",
    "",  # what the package itself offers
    "cli",
    "napari",
    "cellpose_cli",
)
"""A room may import from those above it, whether for types or to run."""


def modules(root: Path) -> dict[str, Path]:
    """Return the files of a package by the names of their modules."""
    paths = sorted(root.rglob("*.py"))
    return {name_of(path.relative_to(root.parent)): path for path in paths}


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def statements(node: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """Yield all nodes of a tree, with or without those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if types or not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from statements(child, types=types)


def imported(path: Path, known: set[str], *, types: bool) -> set[str]:
    """Return the modules of the package that a file imports, at its top or later."""
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8")), types=types):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update({name if name in known else node.module for name in names})
    return found & known


def graph(root: Path, *, types: bool = True) -> dict[str, set[str]]:
    found = modules(root)
    return {name: imported(path, set(found), types=types) - {name} for name, path in found.items()}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def upward(imports: dict[str, set[str]], order: tuple[str, ...]) -> list[str]:
    """Return the imports that point to a room further down in the order."""
    rank = {name: index for index, name in enumerate(order)}
    return [
        f"{module} imports {other}"
        for module, others in imports.items()
        for other in sorted(others)
        if rank[room(other)] > rank[room(module)]
    ]


def test_every_room_has_a_place_in_the_order():
    assert {room(module) for module in graph(ROOT)} <= set(ORDER)


def test_no_room_imports_from_a_later_one():
    assert upward(graph(ROOT), ORDER) == []


def test_no_module_imports_itself_by_way_of_others():
    TopologicalSorter(
        graph(ROOT, types=False)
    ).prepare()  # raises a CycleError that names the circle


def test_the_runtime_imports_neither_torch_nor_onnx_nor_the_exporter():
    for path in modules(ROOT).values():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name.split(".")[0] for name in names} & {"torch", "onnx", "fcp_export"}, path


def test_a_circle_and_an_import_upward_are_found(tmp_path):
    house = tmp_path / "house"
    house.mkdir()
    ring = ("a", "b", "c", "a")
    for name, other in pairwise(ring):
        (house / f"{name}.py").write_text(f"def late():\n    from house import {other}\n")
    found = graph(house)
    assert found == {"house.a": {"house.b"}, "house.b": {"house.c"}, "house.c": {"house.a"}}
    assert upward(found, ("c", "b", "a")) == ["house.c imports house.a"]
    with pytest.raises(CycleError):
        TopologicalSorter(found).prepare()
