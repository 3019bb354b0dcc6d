"""Every code block of README.md and docs/ does what it says: it is run."""

from __future__ import annotations

import csv
import importlib.util
import shutil
from functools import cache
from pathlib import Path

import pytest
import tifffile
from click.testing import CliRunner
from pages import PAGES, ROOT, Block, blocks, check_options, command_of, commands

from fcp_runtime.evaluate.manifest import REQUIRED
from fcp_runtime.phantom import dividing_film, nuclei_image, organoid

BLOCKS = [block for page in PAGES for block in blocks(page)]
UNTAUGHT = {
    "accuracy.md",
    "files.md",
    "reliability.md",
    "architecture.md",
    "api.md",
    "benchmarks.md",
    "platforms.md",
    "settings.md",
}
"""Pages that need not show code."""


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """The files that the pages speak of."""
    folder = tmp_path_factory.mktemp("images")
    flat = nuclei_image((112, 112), diameter=20, seed=1)
    stack = organoid((14, 72, 72), phenotype="compact", diameter=20, anisotropy=2.0, seed=1)
    for name in ("image.tif", "image1.tif", "image2.tif", "plate/a.tif", "plate/b.tif"):
        write(folder / name, flat.image)
    write(folder / "folder/c.tif", flat.image)
    spaced = {"imagej": True, "resolution": (2, 2)}
    write(
        folder / "stack.tif",
        stack.image,
        metadata={"axes": "ZYX", "spacing": 1.0, "unit": "um"},
        **spaced,
    )
    both = stack.image[:, None].repeat(2, axis=1)
    write(
        folder / "two_channels.tif",
        both,
        metadata={"axes": "ZCYX", "spacing": 1.0, "unit": "um"},
        **spaced,
    )
    write(
        folder / "film.tif",
        dividing_film(4, (96, 96), nuclei=4, divisions=1, seed=1).image,
        metadata={"axes": "TYX", "finterval": 30.0},
        imagej=True,
    )
    for name in ("prediction.tif", "truth.tif", "data/label.tif"):
        write(folder / name, flat.labels)
    write(folder / "data/image.tif", flat.image)
    with (folder / "data/manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(REQUIRED)
        table.writerow(["dev2d", "phantom", "image.tif", "label.tif", 2, 20, ""])
    (folder / "results").mkdir()
    shutil.copy(ROOT / "models" / "v3.onnx", folder / "my_model.onnx")
    return folder


def write(path: Path, pixels, **options) -> None:
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, pixels, **options)


class Reader:
    """Somebody who follows a page from its beginning, in a folder with the images."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.left = blocks(page)
        self.folder = folder
        self.names: dict[str, object] = {}

    def read_to(self, block: Block) -> None:
        while block in self.left:
            self.do(self.left.pop(0))

    def do(self, block: Block) -> None:
        if block.mark == "not run" or missing(block):
            return
        if block.language == "python":
            code = "\n" * block.line + block.text  # line numbers of the page
            exec(compile(code, str(block.page), "exec"), self.names)  # noqa: S102
        else:
            for words in commands(block.text):
                self.type(words)

    def type(self, words: list[str]) -> None:
        if words[0] == "mkdir":
            Path(words[1]).mkdir()
        elif words[0] in {"pip", "python"}:
            check_options(words)
        elif words != ["pytest"]:
            done = CliRunner().invoke(command_of(words[0]), words[1:])
            assert done.exit_code == 0, done.output


def missing(block: Block) -> list[str]:
    """Return the modules that a block needs and that are not here."""
    names = block.detail.split() if block.mark == "needs" else []
    return [name for name in names if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="session")
def reader(images, tmp_path_factory):
    @cache
    def of(page: Path) -> Reader:
        folder = tmp_path_factory.mktemp(page.stem) / "here"
        shutil.copytree(images, folder)
        return Reader(page, folder)

    return of


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch-geometric's affair
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_runs(block, reader, monkeypatch):
    if block.mark == "not run":
        pytest.skip(block.detail)
    if missing(block):
        pytest.skip(f"needs {' and '.join(missing(block))}")
    here = reader(block.page)
    monkeypatch.chdir(here.folder)
    here.read_to(block)


LEFT_OUT = [block for block in BLOCKS if block.mark == "not run" and block.language == "console"]


@pytest.mark.parametrize("block", LEFT_OUT, ids=lambda block: block.name)
def test_commands_that_are_not_run_have_the_options_they_name(block):
    for words in commands(block.text):
        check_options(words)


def test_every_page_has_blocks():
    pages = {block.page.name for block in BLOCKS}
    assert {page.name for page in PAGES} - UNTAUGHT <= pages


def test_the_table_of_cellpose_options_is_that_of_the_command():
    from fcp_runtime.cellpose_cli.options import OPTIONS

    page = (ROOT / "docs" / "cellpose.md").read_text(encoding="utf-8")
    prefix = {"used": "", "ignored": "no effect: ", "refused": "refused: "}
    expected = [
        f"| `{option.flag}` | {prefix[option.fate]}{option.does} |"
        for option in OPTIONS
        if option.fate != "training"
    ]
    assert [line for line in page.splitlines() if line.startswith("| `--")][1:] == expected


def test_marks_and_indented_blocks_are_understood(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n    fcp-run a -o b && pytest\n\n<!-- needs: nothing_such -->\n```python\nx\n```\n"
        "\n<!-- not run: why -->\n\nText\n\n```console\nfcp-run \\\n  a\n```\n\n    a -> b\n",
        encoding="utf-8",
    )
    first, second, third = blocks(page)
    assert (first.line, commands(first.text)) == (3, [["fcp-run", "a", "-o", "b"], ["pytest"]])
    assert (second.language, second.text, missing(second)) == ("python", "x", ["nothing_such"])
    assert third.mark == ""  # a mark belongs to the block that follows it at once
    assert commands(third.text) == [["fcp-run", "a"]]
