"""``fcp-run``: every output of one call, read back by who uses it."""

from __future__ import annotations

import csv
import json

import imagecodecs
import networkx as nx
import numpy as np
import pytest
import roifile
import tifffile
from click.testing import CliRunner
from PIL import Image
from pyarrow import parquet
from skimage.segmentation import clear_border, relabel_sequential

from fcp_runtime.cli.run import main
from fcp_runtime.outputs.graph import METHODS
from fcp_runtime.outputs.kinds import BY_KIND, OUTPUTS
from fcp_runtime.phantom import nuclei_image, organoid

STACK_OUTPUTS = {
    "table": "cells.csv",
    "graph": "cells.graphml",
    "graph-picture": "graph.png",
    "preview": "preview.png",
    "rois": "rois.zip",
    "seg-npy": "stack_seg.npy",
    "flows": "flows.tif",
}


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    phantom = organoid((12, 80, 80), phenotype="compact", diameter=20, anisotropy=2.0, seed=1)
    path = tmp_path_factory.mktemp("stack") / "stack.tif"
    tifffile.imwrite(
        path,
        phantom.image,
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "ZYX", "spacing": 1.0, "unit": "um"},
    )
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("flat") / "picture.tif"
    tifffile.imwrite(path, nuclei_image((96, 96), diameter=20, seed=1).image)
    return path


@pytest.fixture(scope="module")
def everything(stack, tmp_path_factory):
    """All outputs of a stack by one call: the folder and the summary."""
    folder = tmp_path_factory.mktemp("out")
    outputs = [
        part for kind, name in STACK_OUTPUTS.items() for part in (f"--{kind}", folder / name)
    ]
    done = run(stack, "-o", folder / "mask.tif", "--diameter", 20, "--json", *outputs)
    assert done.exit_code == 0, done.output
    return folder, json.loads(done.stdout)


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_call_writes_every_output_of_a_stack(everything):
    folder, summary = everything
    assert {path.name for path in folder.iterdir()} == {"mask.tif", *STACK_OUTPUTS.values()}
    named = {kind.replace("-", "_"): [str(folder / name)] for kind, name in STACK_OUTPUTS.items()}
    assert summary["outputs"] == named


def test_the_table_has_a_row_per_object_in_micrometres(everything):
    folder, summary = everything
    labels = tifffile.imread(folder / "mask.tif")
    rows = read_csv(folder / "cells.csv")
    assert len(rows) == summary["objects"] > 1
    sizes = np.bincount(labels.ravel())
    for row in rows:
        voxels = sizes[int(row["label"])]
        assert int(row["volume_voxels"]) == voxels
        assert float(row["volume_um3"]) == pytest.approx(voxels * 1.0 * 0.5 * 0.5)


def test_the_graph_has_the_nodes_of_the_table(everything):
    folder, summary = everything
    graph = nx.read_graphml(folder / "cells.graphml", node_type=int)
    assert sorted(graph.nodes) == list(range(1, summary["objects"] + 1))
    assert graph.graph["unit"] == "um"
    assert imagecodecs.png_decode((folder / "graph.png").read_bytes()).ndim == 3


def test_regions_cover_the_masks(everything):
    folder, _ = everything
    labels = tifffile.imread(folder / "mask.tif")
    regions = roifile.ImagejRoi.fromfile(folder / "rois.zip")
    in_planes = sum(len(np.unique(plane[plane > 0])) for plane in labels)
    assert len(regions) == in_planes > 0


def test_flows_and_the_cellpose_file_show_the_fields(everything, stack):
    folder, summary = everything
    labels = tifffile.imread(folder / "mask.tif")
    flows = tifffile.imread(folder / "flows.tif")
    assert flows.shape == (12, 4, 80, 80)
    assert flows[:, 3][labels > 0].mean() > 0 > flows[:, 3][labels == 0].mean()
    content = np.load(folder / "stack_seg.npy", allow_pickle=True).item()
    assert np.array_equal(content["masks"], labels)
    assert content["filename"] == str(stack)
    assert content["diameter"] == summary["diameter"]


def test_one_image_gives_polygons_outlines_and_other_formats(tmp_path, picture):

    done = run(
        *(picture, "-o", tmp_path / "mask.tif", "--diameter", 20, "--json"),
        *("--geojson", tmp_path / "a.geojson", "--outlines", tmp_path / "a.txt"),
        *("--table", tmp_path / "a.parquet", "--graph", tmp_path / "a.csv"),
        *("--table", tmp_path / "a.csv", "--graph", tmp_path / "a.npz"),
        *("--graph-method", "nearest", "--graph-neighbours", 2, "--graph-limit", 60),
    )
    assert done.exit_code == 0, done.output
    count = json.loads(done.stdout)["objects"]
    assert count > 2
    document = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))
    assert [feature["properties"]["name"] for feature in document["features"]] == [
        str(label + 1) for label in range(count)
    ]
    assert len((tmp_path / "a.txt").read_text(encoding="ascii").splitlines()) == count
    assert parquet.read_table(tmp_path / "a.parquet").num_rows == count
    assert len(read_csv(tmp_path / "a.csv")) == count
    assert np.load(tmp_path / "a.npz")["label"].tolist() == list(range(1, count + 1))
    assert len(read_csv(tmp_path / "a_nodes.csv")) == count
    edges = read_csv(tmp_path / "a_edges.csv")
    assert count <= len(edges) <= 2 * count
    assert all(float(edge["length_px"]) <= 60 for edge in edges)


def test_every_channel_is_measured_under_the_nuclei_of_one(tmp_path, stack):
    nuclei = tifffile.imread(stack)
    marker = nuclei[::-1] // 2 + np.arange(80, dtype=np.uint16)
    both = np.stack((marker, nuclei, nuclei // 4), axis=1)
    image = tmp_path / "channels.tif"
    tifffile.imwrite(image, both, imagej=True, metadata={"axes": "ZCYX"})
    table, features = tmp_path / "cells.csv", tmp_path / "cells.npz"
    done = run(
        *(image, "-o", tmp_path / "mask.tif", "--channel", 1, "--diameter", 20),
        *("--anisotropy", 2, "--table", table, "--graph", features),
    )
    assert done.exit_code == 0, done.output
    labels = tifffile.imread(tmp_path / "mask.tif")
    for name, pixels in (("intensity", nuclei), ("channel0", marker), ("channel2", nuclei // 4)):
        sums = np.bincount(labels.ravel(), pixels.ravel())[1:]
        measured = [float(row[f"integrated_{name}"]) for row in read_csv(table)]
        assert measured == pytest.approx(sums)
        assert f"median_{name}" in np.load(features)["feature_names"]
    assert "mean_channel1" not in read_csv(table)[0]


def test_a_grey_image_in_colours_has_one_channel_to_measure(tmp_path, picture):
    image = tmp_path / "colours.tif"
    grey = (tifffile.imread(picture) // 256).astype(np.uint8)
    tifffile.imwrite(image, np.stack([grey] * 3, axis=-1), photometric="rgb")
    table = tmp_path / "cells.csv"
    done = run(image, "-o", tmp_path / "mask.tif", "--diameter", 20, "--table", table)
    assert done.exit_code == 0, done.output
    assert not [name for name in read_csv(table)[0] if "channel" in name]


def test_every_output_has_an_option_that_names_its_suffixes():
    options = {option.name: option for option in main.params}
    assert len(BY_KIND) == len(OUTPUTS)
    for output in OUTPUTS:
        option = options[output.kind]
        assert option.opts == [output.flag]
        assert option.multiple
        assert output.help in option.help
        assert all(suffix in option.help for suffix in output.suffixes)
        assert output.ending.endswith(output.suffixes)
    assert set(options["graph_method"].type.choices) == set(METHODS)


def test_several_images_give_names_from_theirs(tmp_path, picture):
    inputs, results = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    results.mkdir()
    for name in ("a.ome.tif", "b.tif"):
        tifffile.imwrite(inputs / name, tifffile.imread(picture))
    done = run(
        *(inputs, "-o", results, "--diameter", 20),
        *("--table", results, "--seg-npy", inputs, "--graph", results / "g_{name}.npz"),
    )
    assert done.exit_code == 0, done.output
    assert {path.name for path in results.iterdir()} == {
        f"{name}"
        for stem in "ab"
        for name in (f"{stem}_masks.tif", f"{stem}_table.csv", f"g_{stem}.npz")
    }
    assert {path.name for path in inputs.glob("*.npy")} == {"a_seg.npy", "b_seg.npy"}


def test_one_table_for_all_inputs_names_each_image(tmp_path, picture):
    inputs, results = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    results.mkdir()
    pixels = tifffile.imread(picture)
    tifffile.imwrite(inputs / "a.tif", pixels)
    tifffile.imwrite(inputs / "=b.tif", pixels[:, :64])
    (inputs / "c.tif").write_bytes(b"no image")
    done = run(inputs, "-o", results, "--diameter", 20, "--table", tmp_path / "all.csv")
    assert done.exit_code == 1, done.output
    rows = read_csv(tmp_path / "all.csv")
    for name, shown in (("a", "a.tif"), ("=b", "'=b.tif")):
        count = tifffile.imread(results / f"{name}_masks.tif").max()
        assert count == sum(row["image"] == shown for row in rows) > 0
    again = run(
        *(inputs, "-o", results, "--table", tmp_path / "all.csv", "--skip-existing"),
    )
    assert again.exit_code == 2
    assert "--skip-existing" in again.stderr


@pytest.mark.parametrize("name", ["mask.png", "mask.npy", "mask.tif"])
def test_nuclei_that_the_border_cuts_are_left_out_on_request(tmp_path, picture, name):
    everything, inner, table = tmp_path / "all.npy", tmp_path / name, tmp_path / "t.parquet"
    assert run(picture, "-o", everything, "--diameter", 20).exit_code == 0
    done = run(
        *(picture, "-o", inner, "--diameter", 20, "--json"),
        *("--table", table, "--exclude-border"),
    )
    assert done.exit_code == 0, done.output
    read = {".png": imagecodecs.imread, ".npy": np.load, ".tif": tifffile.imread}[inner.suffix]
    expected = relabel_sequential(clear_border(np.load(everything)))[0]
    assert np.array_equal(read(inner), expected)
    summary = json.loads(done.stdout)
    assert summary["objects"] == expected.max() < np.load(everything).max()
    assert summary["settings"]["exclude_border"] == "xy"
    metadata = parquet.read_schema(table).metadata
    assert json.loads(metadata[b"settings"]) == summary["settings"]


def test_settings_are_in_every_output_that_has_a_place_for_them(everything, picture, tmp_path):
    folder, summary = everything
    settings = summary["settings"]
    graph = nx.read_graphml(folder / "cells.graphml", node_type=int)
    assert json.loads(graph.graph["settings"]) == settings
    region = roifile.ImagejRoi.fromfile(folder / "rois.zip")[0]
    assert json.loads(region.props.removeprefix("settings: ")) == settings
    for name in ("graph.png", "preview.png"):
        with Image.open(folder / name) as shown:
            assert json.loads(shown.text["Settings"]) == settings
    done = run(
        *(picture, "-o", tmp_path / "m.png", "--diameter", 20, "--json"),
        *("--geojson", tmp_path / "a.geojson", "--graph", tmp_path / "a.npz"),
    )
    settings = json.loads(done.stdout)["settings"]
    assert json.loads((tmp_path / "a.geojson").read_text("utf-8"))["settings"] == settings
    assert json.loads(np.load(tmp_path / "a.npz")["settings"].item()) == settings


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "mask.jpg"], ".jpg cannot hold labels"),
        (["-o", "mask"], "no suffix"),
        (["--table", "cells.xlsx"], "cells.xlsx"),
        (["--table", "none/cells.csv"], "none"),
        (["--summary", "mask.tif"], "two results"),
        (["--graph", "cells.json"], "cells.json"),
        (["--rois", "rois.txt"], "--rois writes .zip"),
        (["--preview", "picture.jpg"], "--preview writes .png"),
        (["--flows", "none/flows.tif"], "none"),
        (["--summary", "none/batch.csv"], "none"),
        (["--table", "same_nodes.csv", "--graph", "same.csv"], "two results"),
        (["--flows", "mask.tif"], "two results"),
        (["--table", "cells.csv", "--table", "cells.csv"], "two results"),
        (["--graph-limit", "-1"], "graph-limit"),
        (["--graph-neighbours", "0"], "graph-neighbours"),
        (["--graph-method", "all"], "graph-method"),
    ],
)
def test_a_path_that_cannot_be_written_is_said_before_the_run(
    tmp_path, picture, monkeypatch, arguments, says
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fcp_runtime.segmenter.Segmenter.segment", None)
    done = run(picture, "-o", "mask.tif", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.geojson", "a.txt"])
def test_a_format_for_one_image_is_refused_for_a_stack_before_the_run(
    tmp_path, stack, monkeypatch, name
):
    monkeypatch.setattr("fcp_runtime.segmenter.Segmenter.segment", None)
    flag = "--geojson" if name.endswith("json") else "--outlines"
    done = run(stack, "-o", tmp_path / "mask.tif", flag, tmp_path / name)
    assert done.exit_code == 1
    assert "stack" in done.stderr
    assert "--rois" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_said_before_the_run(tmp_path, picture, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "roifile", None)
    monkeypatch.setattr("fcp_runtime.segmenter.Segmenter.segment", None)
    done = run(picture, "-o", tmp_path / "mask.tif", "--rois", tmp_path / "rois.zip")
    assert done.exit_code == 2
    assert "fastercellpose[lab]" in done.stderr
