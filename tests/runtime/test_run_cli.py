"""``fcp-run`` from the outside: outputs, messages and exit codes."""

from __future__ import annotations

import json
import os
import weakref

import imagecodecs
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

import fcp_runtime
import fcp_runtime.segmenter
from fcp_runtime.cli.run import main
from fcp_runtime.evaluate.metrics import match
from fcp_runtime.phantom import nuclei_image, organoid


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "picture.tif"
    tifffile.imwrite(path, nuclei_image((128, 128), diameter=20, seed=1).image)
    return path


def test_a_stack_gives_masks_a_preview_and_a_summary(tmp_path):
    phantom = organoid((12, 80, 80), phenotype="compact", diameter=20, anisotropy=2.0, seed=1)
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, phantom.image, metadata={"axes": "ZYX"})
    mask, preview = tmp_path / "mask.tif", tmp_path / "preview.png"
    done = run(
        stack, "-o", mask, "--diameter", 20, "--anisotropy", 2, "--preview", preview, "--json"
    )
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    labels = tifffile.imread(mask)
    assert labels.shape == phantom.image.shape
    assert summary["objects"] == labels.max() > 0
    assert summary["anisotropy"] == 2
    assert summary["diameter"] == 20
    assert set(summary["seconds"]) >= {"read", "network", "masks", "write"}
    assert summary["peak_memory_bytes"] > 0
    assert summary["settings"]["mode"] == "3d"
    assert imagecodecs.png_decode(preview.read_bytes()).ndim == 3


def test_every_setting_has_an_option():
    from dataclasses import fields

    from fcp_runtime import Settings

    assert {field.name for field in fields(Settings)} <= {option.name for option in main.params}


def test_the_settings_are_in_the_mask_file(tmp_path, picture):
    mask = tmp_path / "mask.tif"
    assert run(picture, "-o", mask, "--diameter", 20, "--min-size", 21).exit_code == 0
    with tifffile.TiffFile(mask) as tif:
        text = str(tif.imagej_metadata) + str(tif.pages[0].description)
    assert '"min_size": 21' in text


@pytest.mark.parametrize("shown", [False, True])
def test_pixels_that_no_output_shows_are_let_go_before_the_masks_are_made(
    tmp_path, picture, monkeypatch, shown
):
    alive: list[bool] = []
    pixels: list[weakref.ref[np.ndarray]] = []
    follow = fcp_runtime.segmenter.follow_paths

    def read(*args, **options):
        volume = fcp_runtime.read_volume(*args, **options)
        volume = fcp_runtime.Volume(volume.pixels.copy())
        pixels.append(weakref.ref(volume.pixels))
        return volume

    def noting(*args, **options):
        alive.append(pixels[0]() is not None)
        return follow(*args, **options)

    monkeypatch.setattr("fcp_runtime.io.read.read_volume", read)
    monkeypatch.setattr("fcp_runtime.segmenter.follow_paths", noting)
    more = ("--preview", tmp_path / "preview.png") if shown else ()
    done = run(picture, "-o", tmp_path / "mask.tif", "--diameter", 20, *more)
    assert done.exit_code == 0, done.output
    assert alive == [shown]


def test_masks_can_be_made_from_fields_of_half_the_size(tmp_path, picture):
    for name, factor in (("a.tif", 1), ("b.tif", 2)):
        options = ("--diameter", 20, "--resize-factor", factor)
        assert run(picture, "-o", tmp_path / name, *options).exit_code == 0
    whole, half = tifffile.imread(tmp_path / "a.tif"), tifffile.imread(tmp_path / "b.tif")
    assert half.shape == whole.shape
    assert (half[::2, ::2] == half[1::2, 1::2]).all()
    assert not np.array_equal(half > 0, whole > 0)
    assert match(half, whole).counts(0.5).f1 > 0.9


def test_the_same_image_gives_the_same_bytes(tmp_path, picture):
    for name, threads in (("a.tif", 1), ("b.tif", 2)):
        assert (
            run(picture, "-o", tmp_path / name, "--diameter", 20, "--threads", threads).exit_code
            == 0
        )
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_without_a_diameter_the_estimate_is_printed(tmp_path, picture):
    done = run(picture, "-o", tmp_path / "mask.tif")
    assert done.exit_code == 0, done.output
    assert "(estimated)" in done.stdout


def test_a_folder_with_a_bad_file_gives_the_others_and_exit_code_1(tmp_path, picture):
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    results.mkdir()
    for name in ("a.tif", "c.tif"):
        (folder / name).write_bytes(picture.read_bytes())
    (folder / "b.tif").write_bytes(b"no image")
    done = run(folder, "-o", results, "--diameter", 20, "--json")
    assert done.exit_code == 1
    assert sorted(path.name for path in results.iterdir()) == ["a_masks.tif", "c_masks.tif"]
    assert len(done.stdout.splitlines()) == 2
    assert "b.tif" in done.stderr
    assert "1 of 3 inputs failed" in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"not an image at all",
        b"II*\x00\x08\x00\x00\x00\xff\xff",
        "truncated",
        "nan",
        "five axes",
    ],
)
def test_a_bad_file_gives_one_line_exit_code_1_and_no_output(tmp_path, picture, content):
    path = tmp_path / "bad.tif"
    if content == "truncated":
        path.write_bytes(picture.read_bytes()[:5000])
    elif content == "nan":
        tifffile.imwrite(path, np.full((20, 20), np.nan, np.float32))
    elif content == "five axes":
        tifffile.imwrite(path, np.zeros((2, 2, 2, 8, 8), np.uint8), metadata={"axes": "TZCYX"})
    elif content is not None:
        path.write_bytes(content)
    done = run(path, "-o", tmp_path / "mask.tif")
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "bad.tif" in done.stderr
    assert {file.name for file in tmp_path.iterdir()} <= {"bad.tif"}


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["--diameter", "0"], "diameter", 2),
        (["--diameter", "x"], "diameter", 2),
        (["--tile", "100"], "tile", 2),
        (["--mode", "4d"], "mode", 2),
        (["--threads", "0"], "threads", 2),
        (["--model", "v99"], "v99", 2),
        (["--model", "missing.onnx"], "missing.onnx", 2),
        (["--graph-limit", "nan"], "graph-limit", 2),
        (["--axes", "QQ"], "axes", 2),
        (["--axes", "ZYX"], "axes", 1),
        (["--channel", "5"], "channel", 1),
        (["--mode", "3d"], "mode", 1),
    ],
)
def test_an_impossible_option_is_named_and_nothing_is_written(
    tmp_path, picture, arguments, says, code
):
    done = run(picture, "-o", tmp_path / "mask.tif", *arguments)
    assert done.exit_code == code
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_missing_arguments_are_usage_errors(tmp_path, picture):
    assert run().exit_code == 2
    assert run(picture).exit_code == 2
    assert run(picture, "-o", tmp_path / "m.tif", "--demo").exit_code == 2


def test_an_output_folder_that_is_missing_is_said(tmp_path, picture):
    done = run(picture, "-o", tmp_path / "none" / "mask.tif", "--diameter", 20)
    assert done.exit_code == 2
    assert "none" in done.stderr


def test_a_folder_that_may_not_be_written_is_said_before_the_run(tmp_path, picture, monkeypatch):
    locked = tmp_path / "locked"
    locked.mkdir()
    usual = os.access
    # as root, every folder may be written
    monkeypatch.setattr(os, "access", lambda path, mode: path != locked and usual(path, mode))
    monkeypatch.setattr("fcp_runtime.segmenter.Segmenter.segment", None)
    done = run(picture, "-o", tmp_path / "mask.tif", "--table", locked / "cells.csv")
    assert done.exit_code == 2
    assert "cells.csv" in done.stderr
    assert "permissions" in done.stderr
    (locked / "mask.tif").touch()
    done = run(picture, "-o", locked / "mask.tif", "--skip-existing")
    assert done.exit_code == 0, done.output  # nothing is to be written there


def test_the_demo_has_a_dry_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("--demo", "--dry-run", "--json", "--diameter", 20)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["input"] == "demo.tif"
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_that_fails_shows_where_with_debug(tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"no image")
    done = run(tmp_path / "bad.tif", "--dry-run", "--debug")
    assert done.exit_code == 1
    assert ", in format_of" in done.stderr


def test_an_input_is_never_replaced(picture):
    before = picture.read_bytes()
    done = run(picture, "-o", picture)
    assert done.exit_code == 2
    assert picture.read_bytes() == before


def test_two_inputs_of_one_name_are_not_written_over_each_other(tmp_path, picture):
    other = tmp_path / "other"
    other.mkdir()
    (other / picture.name).write_bytes(picture.read_bytes())
    done = run(picture, other / picture.name, "-o", tmp_path)
    assert done.exit_code == 2
    assert "picture_masks.tif" in done.stderr


def test_an_image_without_signal_gives_an_empty_mask_and_a_warning(tmp_path):
    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, np.full((30, 40), 5, np.uint16))
    done = run(path, "-o", tmp_path / "mask.tif")
    assert done.exit_code == 0, done.output
    assert "no signal" in done.stderr
    assert not tifffile.imread(tmp_path / "mask.tif").any()


def test_an_image_without_signal_has_no_diameter_in_words_json_and_summary(tmp_path):
    path, summary = tmp_path / "flat.tif", tmp_path / "batch.csv"
    tifffile.imwrite(path, np.full((30, 40), 5, np.uint16))
    said = run(path, "-o", tmp_path / "mask.tif", "--summary", summary)
    assert "0 objects, no signal, " in said.stdout
    assert summary.read_text(encoding="utf-8").splitlines()[1].startswith(f"{path},done,0,,")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    printed = run(path, "-o", tmp_path / "mask.tif", "--json").stdout
    found = json.loads(printed, parse_constant=refuse)
    assert found["diameter"] is None
    assert not found["diameter_estimated"]


def test_models_and_version_are_printed():
    assert "v3" in run("--list-models").stdout
    assert "fcp-run" in run("--version").stdout
