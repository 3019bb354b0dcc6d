"""Code blocks of the pages, and how a reader would run them.

A comment before a block changes that: ``<!-- not run: reason -->`` leaves it out, ``<!-- needs:
module ... -->`` skips it where a module is missing. Of commands that are not run (those, ``pip
install``, and ``python -m benchmarks...``, which takes hours) the options are checked.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner

if TYPE_CHECKING:
    import click

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = ("fcp-run", "fcp-eval", "fcp-cellpose", "fcp-export", "fcp-distill")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
SHELLS = ("console", "sh", "bash", "shell")
MARK = re.compile(r"<!--\s*(not run|needs):\s*(.+?)\s*-->")
INSTALLED = re.compile(r"(?:\.|fastercellpose)(?:\[([\w,]+)\])?")


@dataclass(frozen=True)
class Block:
    """A block of code: its page, first line, language, text and mark."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    detail: str = ""

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of Python and of commands, fenced or indented by four spaces."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = []
    number, mark = 0, ("", "")
    while number < len(lines):
        line, first = lines[number], number
        if line.startswith("```"):
            number = lines.index("```", number + 1)
            language, text = line[3:].strip(), lines[first + 1 : number]
            language = "console" if language in SHELLS else language
        elif line.startswith("    ") and line.strip() and not lines[number - 1].strip():
            while number + 1 < len(lines) and re.match(r"    |\s*$", lines[number + 1]):
                number += 1
            text = [row[4:] for row in lines[first : number + 1]]
            language = guessed(text)
        else:
            match = MARK.fullmatch(line.strip())
            mark = (match[1], match[2]) if match else mark if not line.strip() else ("", "")
            number += 1
            continue
        number += 1
        if language in ("python", "console"):
            found.append(Block(page, first + 1, language, "\n".join(text), *mark))
        mark = ("", "")
    return found


def guessed(text: list[str]) -> str:
    """Return the language of an indented block, which does not say it."""
    if text[0].split(" ")[0] in (*COMMANDS, "pip", "python"):
        return "console"
    return "python" if any(row.startswith(("import ", "from ")) for row in text) else "text"


def commands(text: str) -> list[list[str]]:
    """Return the commands of a block, each as a list of arguments."""
    joined = text.replace("\\\n", " ")
    parts = [part for line in joined.splitlines() for part in line.split(" && ")]
    split = [shlex.split(part, comments=True) for part in parts]
    return [words for words in split if words]


def command_of(name: str) -> click.Command:
    (found,) = entry_points(group="console_scripts", name=name)
    command: click.Command = found.load()
    return command


def check_options(words: list[str]) -> None:
    """Commands that are not run must exist and have the options they name.

    Each is asked for help, which it gives once it has understood all options.
    """
    if words[0] == "pip":
        check_install(words)
    elif words[0] == "python":
        asked = [sys.executable, *words[1:], "--help"]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    else:
        result = CliRunner().invoke(command_of(words[0]), [*words[1:], "--help"])
        assert result.exit_code == 0, result.output


def check_install(words: list[str]) -> None:
    """``pip install`` is not run: its extras must exist."""
    assert words[1] == "install", words
    for word in words[2:]:
        if not word.startswith("-"):
            match = INSTALLED.fullmatch(word)
            assert match, f"pip install {word} is not of this project"
            assert set((match[1] or "test").split(",")) <= set(EXTRAS), word
