"""From a checkpoint to a file that the runtime loads, with its entry in the manifest."""

from __future__ import annotations

import hashlib
import json
import sys

import formula
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from fcp_export.cli.export import main
from fcp_export.export import (
    compare,
    comparison_tiles,
    export_model,
    onnx_bytes,
    read_checkpoint,
    shipped_checkpoint,
)
from fcp_export.provenance import known_provenance, read_manifest
from fcp_export.teacher import to_cellpose
from fcp_runtime.errors import InputError, ModelError
from fcp_runtime.network.registry import list_models, load_model
from fcp_runtime.network.session import Network


@pytest.fixture
def checkpoint(tmp_path, make_net):
    """A checkpoint of v3, as training leaves it."""
    path = tmp_path / "run" / "student.safetensors"
    path.parent.mkdir()
    save_file(make_net("v3").state_dict(), path)
    return path


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_runtime_loads_what_is_exported(checkpoint, tmp_path, make_net):
    export_model("v3", checkpoint, tmp_path / "out")
    model = load_model("v3", tmp_path / "out")
    assert (model.info.parameters, model.info.diam_mean) == (116_693, 17.0)
    tile = formula.uniform("tile", (1, 1, 40, 48))
    with torch.inference_mode():
        pair = torch.from_numpy(np.concatenate((tile, 0 * tile), 1))
        wanted = make_net("v3")(pair).numpy()
    np.testing.assert_allclose(Network(model)(tile), wanted[0], atol=1e-4)


def test_the_entry_describes_the_files(checkpoint, tmp_path):
    entry = export_model("v3", checkpoint, tmp_path)
    assert entry.pop("difference") < 1e-4
    assert json.loads((tmp_path / "manifest.json").read_text())["models"] == {"v3": entry}
    assert entry["sha256"] == digest(tmp_path / "v3.onnx")
    assert entry["bytes"] == (tmp_path / "v3.onnx").stat().st_size
    assert entry["checkpoint_sha256"] == digest(tmp_path / "v3.safetensors")
    assert (tmp_path / "v3.safetensors").read_bytes() == checkpoint.read_bytes()
    assert entry["macs_1024"] == 4_971_329_536
    assert entry["training_data"] == [] == entry["licences"]
    assert {"fastercellpose", "onnx", "torch"} == entry["made_with"].keys()
    (info,) = list_models(tmp_path)
    assert (info.key, info.sha256, info.accuracy) == ("v3", entry["sha256"], {})


def test_exporting_again_gives_the_same_files(checkpoint, tmp_path):
    """Also from the copy of the checkpoint that lies beside the exported file."""
    export_model("v3", checkpoint, tmp_path / "one")
    export_model("v3", tmp_path / "one" / "v3.safetensors", tmp_path / "two")
    export_model("v3", tmp_path / "one" / "v3.safetensors", tmp_path / "one")
    for name in ("v3.onnx", "v3.safetensors", "manifest.json"):
        assert digest(tmp_path / "one" / name) == digest(tmp_path / "two" / name)


def test_other_entries_stay_and_keys_are_sorted(checkpoint, tmp_path):
    other = {"key": "zeta", "file": "zeta.onnx", "future": [1, 2]}
    (tmp_path / "manifest.json").write_text(json.dumps({"models": {"zeta": other}}))
    export_model("v3", checkpoint, tmp_path)
    models = json.loads((tmp_path / "manifest.json").read_text())["models"]
    assert list(models) == ["v3", "zeta"]
    assert models["zeta"] == other
    assert list(models["v3"]) == sorted(models["v3"])


def test_provenance_is_told_beside_the_checkpoint_and_stays_with_the_weights(
    checkpoint, tmp_path, make_net
):
    told = {
        "training_data": ["dsb2018"],
        "licences": ["CC0"],
        "teacher": "nuclei_teacher",
        "accuracy": {"dsb2018": {"f1": 0.8}},
    }
    checkpoint.with_suffix(".json").write_text(json.dumps(told))
    entry = export_model("v3", checkpoint, tmp_path)
    assert {name: entry[name] for name in told} == told
    # the same weights from elsewhere: the old entry knows; elsewhere to: the manifest beside them
    checkpoint.with_suffix(".json").unlink()
    assert export_model("v3", checkpoint, tmp_path) == entry
    assert export_model("v3", tmp_path / "v3.safetensors", tmp_path / "else") == entry
    # other weights are not what was measured
    net = make_net("v3")
    net.output[2].pointwise.bias.data += 1
    save_file(net.state_dict(), checkpoint)
    assert export_model("v3", checkpoint, tmp_path)["accuracy"] == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1]", "not a JSON object"), ("{", "not a JSON object"), ('{"f1": 1}', "unknown f1")],
)
def test_a_damaged_provenance_file_is_named(checkpoint, tmp_path, text, message):
    checkpoint.with_suffix(".json").write_text(text)
    with pytest.raises(ModelError, match=rf"student\.json: {message}"):
        export_model("v3", checkpoint, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("text", ["", "[]", '{"models": 3}', '{"models": {"v3": 3}}'])
def test_a_damaged_manifest_is_named_and_nothing_is_written(checkpoint, tmp_path, text):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: not a manifest of models"):
        export_model("v3", checkpoint, folder)
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]
    assert (folder / "manifest.json").read_text() == text


def test_a_missing_manifest_has_no_entries(tmp_path):
    assert read_manifest(tmp_path / "manifest.json") == {}


def test_checkpoints_that_cannot_be_used_are_named(tmp_path, make_net):
    with pytest.raises(ModelError, match=r"absent\.safetensors: cannot read"):
        read_checkpoint(tmp_path / "absent.safetensors", "v3")
    (tmp_path / "text.safetensors").write_text("hello, these are no weights")
    with pytest.raises(ModelError, match=r"text\.safetensors: damaged, or not a safetensors"):
        read_checkpoint(tmp_path / "text.safetensors", "v3")
    save_file(make_net("v1").state_dict(), tmp_path / "v1.safetensors")
    with pytest.raises(ModelError, match=r"v1\.safetensors: not a checkpoint of the v3 network"):
        read_checkpoint(tmp_path / "v1.safetensors", "v3")


def test_a_checkpoint_in_the_format_of_cellpose_is_exported(tmp_path, make_net):
    path = tmp_path / "teacher.pt"
    torch.save({k: v.half() for k, v in to_cellpose(make_net("cellpose")).items()}, path)
    entry = export_model("dilated", path, tmp_path)
    assert entry["parameters"] == 5_031_245
    # the copy holds what the graph was made of
    net, _ = read_checkpoint(tmp_path / "dilated.safetensors", "dilated")
    assert hashlib.sha256(onnx_bytes(net)).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("lacking", ["upsample.doubling.", "upsample.doubling.2.bias"])
def test_a_network_without_its_transposed_convolutions_is_not_exported(tmp_path, make_net, lacking):
    state = make_net("upsample").state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith(lacking)}
    save_file(kept, tmp_path / "part.safetensors")
    torch.save(kept, tmp_path / "part.pt")
    for name in ("part.safetensors", "part.pt"):
        with pytest.raises(ModelError, match=rf"{name}: lacks .*upsample\.doubling\.2\.bias"):
            export_model("upsample", tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_copy_of_a_shipped_checkpoint_is_known_by_its_hash(tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(shipped_checkpoint("v3").read_bytes())
    assert "dsb2018: CC0" in known_provenance(copy, digest(copy), {})["licences"]


def test_without_a_shipped_checkpoint_there_is_no_model():
    with pytest.raises(ModelError, match="no checkpoint of separable is shipped; give one with"):
        shipped_checkpoint("separable")


@pytest.mark.parametrize("damage", [1e-3, float("nan")])
def test_a_graph_that_computes_something_else_is_refused(make_net, damage):
    net = make_net("v3")
    content = onnx_bytes(net)
    net.output[2].pointwise.bias.data[1] += damage
    with pytest.raises(ModelError, match="on a tile of 1 x 1 x 64 x 64 the graph differs"):
        compare(net, content, comparison_tiles([]), "v3.onnx")


def test_weights_that_are_not_finite_are_refused(tmp_path, make_net):
    net = make_net("v3")
    net.output[2].pointwise.bias.data[1] = float("nan")
    save_file(net.state_dict(), tmp_path / "nan.safetensors")
    with pytest.raises(ModelError, match="differs from torch by nan"):
        export_model("v3", tmp_path / "nan.safetensors", tmp_path / "out")


def test_graphs_are_compared_on_noise_nuclei_and_the_given_images(fcp_data, make_net):
    stack = fcp_data / "dev3d" / "cells3d" / "nuclei_image.tif"
    tiles = list(comparison_tiles([stack]))
    assert [tile.shape for tile in tiles] == [
        (1, 1, 64, 64), (2, 1, 96, 160), *[(1, 1, 256, 256)] * 4
    ]  # fmt: skip
    low, high = np.percentile(tiles[-1], (1, 99))
    assert (round(low, 3), round(high, 3)) == (0, 1)
    net = make_net("v3")
    assert compare(net, onnx_bytes(net), tiles[-1:], "v3.onnx") < 1e-4


def test_the_teacher_exports_within_the_tolerance(teacher_file, tmp_path):
    entry = export_model("cellpose", teacher_file, tmp_path)
    assert entry["difference"] < 1e-4
    assert (entry["diam_mean"], entry["parameters"]) == (17.0, 6_600_845)


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_writes_the_files_and_says_so(checkpoint, tmp_path):
    out = tmp_path / "new" / "folder"
    done = run("--student", "v3", "--checkpoint", checkpoint, "-o", out)
    assert done.exit_code == 0, done.output
    assert str(out / "v3.onnx") in done.stdout
    assert {path.name for path in out.iterdir()} == {"v3.onnx", "v3.safetensors", "manifest.json"}
    onnx.checker.check_model(str(out / "v3.onnx"), full_check=True)


def test_the_command_prints_the_entry_as_json(checkpoint, tmp_path):
    done = run("--student", "v3", "--checkpoint", checkpoint, "-o", tmp_path, "--json")
    entry = json.loads(done.stdout)
    assert entry["sha256"] == digest(tmp_path / "v3.onnx")
    assert entry["difference"] < 1e-4


def test_the_list_names_all():
    rows = json.loads(run("--list", "--json").stdout)
    assert len(rows) == 11
    assert rows[9] == {
        "key": "v3",
        "title": "FasterCellpose v3",
        "parameters": 116_693,
        "macs_1024": 4_971_329_536,
        "multiple": 8,
    }
    assert (rows[-1]["key"], rows[-1]["multiple"]) == ("v4", 16)
    line = run("--list").stdout.splitlines()[-2].split()
    assert line == ["v3", "FasterCellpose", "v3", "116,693", "4.97", "G", "8"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "give a network with --student, or --list"),
        (("--student", "v9"), 2, "v9: choose from cellpose, dilated"),
        (("--student", "separable"), 1, "give one with --checkpoint"),
        (("--student", "v3", "--checkpoint", "absent.pt"), 1, "absent.pt: no such checkpoint"),
        (("--student", "v3", "--checkpoint", "absent.safetensors"), 1, "cannot read"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tmp_path, arguments, code, words):
    done = run(*arguments, "-o", tmp_path / "out")
    assert done.exit_code == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_a_folder_that_cannot_be_made_is_named(checkpoint, tmp_path):
    (tmp_path / "file").touch()
    done = run("--student", "v3", "--checkpoint", checkpoint, "-o", tmp_path / "file" / "sub")
    assert done.exit_code == 1
    assert "cannot make this folder" in done.stderr


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match="absent"):
        list(comparison_tiles([tmp_path / "absent.tif"]))


@pytest.mark.parametrize(("flag", "words"), [("-h", "--checkpoint"), ("--version", "fcp-export, ")])
def test_help_and_version_are_told(flag, words):
    done = run(flag)
    assert done.exit_code == 0
    assert words in done.stdout


@pytest.mark.parametrize("package", ["torch", "onnx", "safetensors"])
def test_a_missing_package_is_named_with_the_extra(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    done = run("--student", "v3", "-o", tmp_path)
    assert done.exit_code == 1
    assert f"needs {package}" in done.stderr
    assert 'pip install "fastercellpose[export]"' in done.stderr


def test_the_networks_are_listed_without_what_only_a_file_needs(monkeypatch):
    for package in ("matplotlib", "onnx", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    done = run("--list")
    assert done.exit_code == 0
    assert "FasterCellpose v3" in done.stdout
