"""Compressed models keep their form, counts are the thesis's, and one command makes the report."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import open_session
from fcp_runtime.phantom import nuclei_image

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from benchmarks.accuracy.__main__ import main  # noqa: E402 - what it needs is here
from benchmarks.accuracy.compression import (  # noqa: E402
    calibration_tiles,
    prune,
    quantise_static,
    zipped_size,
)
from benchmarks.accuracy.networks import THESIS, complexity, network_times  # noqa: E402
from fcp_runtime.evaluate.manifest import read_manifest  # noqa: E402

HEADER = "split,source,image,label,ndim,diameter_px,voxel_um_zyx\n"


@pytest.fixture
def manifest(tmp_path):
    lines = []
    for number, split in enumerate(("dev2d", "dev2d", "train2d")):
        made = nuclei_image((96, 96), diameter=20, seed=number)
        tifffile.imwrite(tmp_path / f"i{number}.tif", made.image)
        tifffile.imwrite(tmp_path / f"l{number}.tif", made.labels)
        lines.append(f"{split},made,i{number}.tif,l{number}.tif,2,20,")
    (tmp_path / "manifest.csv").write_text(HEADER + "\n".join(lines) + "\n")
    return tmp_path / "manifest.csv"


def weights(content: bytes) -> np.ndarray:
    tensors = onnx.load_from_string(content).graph.initializer
    named = [tensor for tensor in tensors if tensor.name.endswith(".weight")]
    return np.concatenate([onnx.numpy_helper.to_array(tensor).ravel() for tensor in named])


def test_pruning_zeroes_the_least_weights_and_no_others():
    content = load_model("v3").content
    before, after = weights(content), weights(prune(content, 0.4))
    gone = after == 0
    assert gone.mean() == pytest.approx(0.4, abs=0.01)
    assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    assert np.array_equal(before[~gone], after[~gone])
    assert zipped_size(prune(content, 0.4)) < zipped_size(content)


def test_an_integer_model_has_the_same_form_and_nearly_the_same_output(manifest):
    content = load_model("v3").content
    tiles = calibration_tiles(read_manifest(manifest), 17.0, seed=0)
    assert [tile.shape for tile in tiles] == [(1, 1, 80, 80)]  # 96 * 17 / 20, in steps of 8
    found = quantise_static(content, tiles)
    assert len(found) < len(content) / 2
    sessions = [open_session(one, "v3") for one in (content, found)]
    exact, rounded = (session.run(None, {"image": tiles[0]})[0] for session in sessions)
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.98
    meta = [session.get_modelmeta().custom_metadata_map for session in sessions]
    assert meta[0] == meta[1]


@pytest.mark.slow
def test_counts_are_the_thesis_s_but_for_what_it_left_out():
    counted = [row for row in complexity() if row[0] in THESIS]
    assert len(counted) == len(THESIS) == 10
    for key, _, parameters, macs in counted:
        theirs, their_macs = THESIS[key]
        assert 0 <= parameters - theirs <= 1428  # constants and zeros
        assert macs == pytest.approx(their_macs, rel=0.18)  # it counts normalisation in four


@pytest.mark.slow
def test_times_are_taken_once_and_again_for_a_new_model(tmp_path):
    calls = []

    def content() -> bytes:
        calls.append(1)
        return load_model("v3").content

    path = tmp_path / "times.json"
    first = network_times(path, {"a": content}, 1)
    assert network_times(path, {"a": content}, 1) == first
    assert len(calls) == 1
    assert network_times(path, {"a": content, "b": content}, 1).keys() == {"a", "b"}
    assert len(calls) == 3


@pytest.mark.slow
def test_one_command_makes_the_report_and_the_second_call_computes_nothing(manifest, tmp_path):
    card = tmp_path / "card.md"
    card.write_text("| source | images | nuclei |\n| --- |\n\nend\n")
    out = tmp_path / "out"
    options = ["--manifest", str(manifest), "--phantoms", "0", "--rounds", "0", "--threads", "1"]
    options += ["--estimate", "--teacher", "v3", "--leave-out", "made=v3", "-o", str(out)]
    done = CliRunner().invoke(main, [*options, "--fill", f"{card}=v3"])
    assert done.exit_code == 0, done.output
    report = (out / "report.md").read_text()
    for title in ("Networks", "Accuracy by source", "Students against the teacher", "left out"):
        assert title in report
    assert "+0.000 [+0.000, +0.000]" in report  # a model beside itself
    assert card.read_text().count("| made | 2 |") == 1
    assert (out / "f1-parameters.png").read_bytes()[:4] == b"\x89PNG"
    (store,) = (out / "results").glob("*.jsonl")
    lines = store.read_text().splitlines()
    assert len(lines) == 4  # two images, with true and with estimated diameters
    assert json.loads(lines[0])["network_seconds"] > 0
    assert CliRunner().invoke(main, options).exit_code == 0
    assert store.read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--undistilled"], "needs --teacher"),
        (["--leave-out", "made"], "SOURCE=MODEL"),
        (["--compress", "v9"], "no model v9"),
        (["--fill", "card.md=v9"], "no model v9"),
    ],
)
def test_impossible_options_are_usage_errors(manifest, tmp_path, wrong, said):
    options = ["--manifest", str(manifest), "--phantoms", "0", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*options, *wrong])
    assert done.exit_code == 2
    assert said in done.output
