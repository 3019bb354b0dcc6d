"""The worked examples in docstrings give what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import fcp_runtime

ROOT = Path(fcp_runtime.__file__).parent


def has_examples(path):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return any(">>> " in text for text in found if text)


def with_examples():
    """Return the names of the modules that have examples."""
    paths = filter(has_examples, sorted(ROOT.rglob("*.py")))
    return [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in paths]


@pytest.mark.parametrize("name", with_examples())
def test_the_examples_of_a_module_hold(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_small_pure_functions_have_examples():
    assert {
        "fcp_runtime.machine.workers",
        "fcp_runtime.sampling.axes",
        "fcp_runtime.sampling.tiles",
    } <= set(with_examples())
