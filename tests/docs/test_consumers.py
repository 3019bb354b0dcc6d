"""Real images, one ``fcp-run`` call each: every output is opened by the program it is made for."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fcp_runtime.cli.run import main
from fcp_runtime.outputs.outlines import PALETTE

pytestmark = pytest.mark.slow

STACK = "dev3d/bbbc050/Images_Emb11_t451_image.tif"
PICTURE = "dev2d/dsb2018/00071198d059ba7f5914a526d124d28e6d010c92466da21d4a04cd5413362552_image.tif"
THICK = "dev3d/cells3d/nuclei_image.tif"

OUTPUTS = {
    "table": ("cells.csv", "cells.parquet"),
    "graph": ("cells.graphml", "cells.npz", "graph.csv"),
    "graph-picture": ("graph.png",),
    "preview": ("preview.png",),
    "rois": ("rois.zip",),
    "seg-npy": ("image_seg.npy",),
    "flows": ("flows.tif",),
    "report": ("report.html",),
}
FLAT_OUTPUTS = {"geojson": ("cells.geojson",), "outlines": ("outlines.txt",)}


class Results:
    """The files of one call, and the masks that all of them show."""

    def __init__(self, folder: Path, masks: np.ndarray) -> None:
        self.folder = folder
        self.masks = masks
        self.count = int(masks.max())
        self.sizes = np.bincount(masks.ravel())[1:]

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


def segment(image: Path, folder: Path, outputs, *settings: object) -> Results:
    shutil.copy(image, folder / "image.tif")
    asked = [part for kind, names in outputs.items() for n in names for part in (f"--{kind}", n)]
    words = [str(folder / word) if "." in word else word for word in asked]
    mask = folder / "mask.tif"
    settings = tuple(map(str, settings))
    done = CliRunner().invoke(main, [str(folder / "image.tif"), "-o", str(mask), *settings, *words])
    assert done.exit_code == 0, done.output
    return Results(folder, tifffile.imread(mask))


@pytest.fixture(scope="session")
def stack(fcp_data, tmp_path_factory):
    near = ("--graph-method", "delaunay", "--graph-limit", 35)
    folder = tmp_path_factory.mktemp("stack")
    return segment(fcp_data / STACK, folder, OUTPUTS, "--anisotropy", 1.75 / 0.8, *near)


@pytest.fixture(scope="session")
def picture(fcp_data, tmp_path_factory):
    near = ("--graph-method", "nearest", "--graph-neighbours", 3)
    folder = tmp_path_factory.mktemp("picture")
    return segment(fcp_data / PICTURE, folder, OUTPUTS | FLAT_OUTPUTS, *near)


@pytest.fixture(params=["stack", "picture"])
def results(request):
    found: Results = request.getfixturevalue(request.param)
    assert found.count > 10
    return found


def test_fiji_gets_regions_that_cover_the_masks(results):
    roifile = pytest.importorskip("roifile")
    planes = results.masks.reshape(-1, *results.masks.shape[-2:])
    covered = np.zeros((len(planes), results.count + 1))
    for region in roifile.ImagejRoi.fromfile(results / "rois.zip"):
        rings = region.coordinates(multi=True)
        area = sum(doubled_area(ring) for ring in rings) / 2
        covered[max(region.position - 1, 0), int(region.name.split("_")[0])] = abs(area)
    true = [np.bincount(plane.ravel(), minlength=results.count + 1) for plane in planes]
    assert np.array_equal(covered[:, 1:], np.array(true)[:, 1:])


def doubled_area(ring: np.ndarray) -> float:
    x, y = ring[:, 0].astype(float), ring[:, 1].astype(float)
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def test_tifffile_reads_masks_and_flows_with_their_axes(results):
    with tifffile.TiffFile(results / "mask.tif") as tif:
        assert tif.is_imagej
        assert tif.series[0].axes == "ZYX"[-results.masks.ndim :]
        assert json.loads(tif.imagej_metadata["Info"])["model"] == "v3"
    with tifffile.TiffFile(results / "flows.tif") as tif:
        assert tif.series[0].axes == "ZCYX"[4 - results.masks.ndim - 1 :]
        logit = tif.asarray()[..., -1, :, :]
    assert np.mean(logit[results.masks > 0] > 0) > 0.9


def test_scikit_image_measures_the_same(results):
    measure = pytest.importorskip("skimage.measure")
    rows = read_csv(results / "cells.csv")
    for row, region in zip(rows, measure.regionprops(results.masks), strict=True):
        assert int(row["label"]) == region.label
        centroid = [float(row[axis]) for axis in "zyx"[-results.masks.ndim :]]
        assert centroid == pytest.approx(region.centroid)
        size = row["volume_voxels" if results.masks.ndim == 3 else "area_pixels"]
        assert int(size) == region.area


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_pandas_reads_the_same_from_csv_and_parquet(results):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    text, binary = (
        pandas.read_csv(results / "cells.csv"),
        pandas.read_parquet(results / "cells.parquet"),
    )
    pandas.testing.assert_frame_equal(text, binary, check_dtype=False, rtol=1e-8)
    assert text["label"].tolist() == list(range(1, results.count + 1))
    assert text["touches_border"].dtype == binary["touches_border"].dtype == bool


def test_networkx_reads_the_edges_that_the_arrays_and_tables_have(results):
    networkx = pytest.importorskip("networkx")
    graph = networkx.read_graphml(results / "cells.graphml", node_type=int)
    assert sorted(graph.nodes) == list(range(1, results.count + 1))
    rows = read_csv(results / "graph_edges.csv")
    pairs = {(int(row["source_label"]), int(row["target_label"])) for row in rows}
    assert {tuple(sorted(edge)) for edge in graph.edges} == pairs != set()
    arrays = np.load(results / "cells.npz")
    ends = arrays["label"][arrays["edge_index"]].T.tolist()
    assert {tuple(sorted(edge)) for edge in ends} == pairs
    assert len(ends) == 2 * len(pairs)


def test_torch_geometric_batches_and_convolves_the_graph(results):
    pytest.importorskip("torch_geometric")
    import torch
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GCNConv

    arrays = np.load(results / "cells.npz")
    names = ("x", "edge_index", "edge_attr", "pos")
    data = Data(**{name: torch.from_numpy(arrays[name]) for name in names})
    assert data.validate()
    assert data.is_undirected()
    assert not data.has_self_loops()
    assert data.num_features == len(arrays["feature_names"])
    (batch,) = DataLoader([data, data], batch_size=2)
    assert GCNConv(data.num_features, 4)(batch.x, batch.edge_index).shape == (2 * results.count, 4)


@pytest.mark.skipif(importlib.util.find_spec("cellpose") is None, reason="needs cellpose")
def test_cellpose_loads_the_masks_as_its_own(results):
    script = Path(__file__).parents[1] / "data" / "make_cellpose_outputs.py"
    done = subprocess.run(
        [sys.executable, str(script), str(results / "image_seg.npy")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{results.count} objects {results.count}" in done.stdout


def test_shapely_reads_polygons_that_cover_the_masks(picture):
    geometry = pytest.importorskip("shapely.geometry")
    features = json.loads((picture / "cells.geojson").read_text(encoding="utf-8"))["features"]
    shapes = [geometry.shape(feature["geometry"]) for feature in features]
    assert all(shape.is_valid for shape in shapes)
    assert [shape.area for shape in shapes] == picture.sizes.tolist()


def test_geopandas_reads_polygons_that_cover_the_masks(picture):
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.read_file(picture / "cells.geojson").set_crs(None, allow_override=True)
    assert frame["name"].astype(int).tolist() == list(range(1, picture.count + 1))
    assert frame.area.tolist() == picture.sizes.tolist()


def test_outlines_as_text_lie_on_their_nuclei(picture):
    lines = (picture / "outlines.txt").read_text(encoding="ascii").splitlines()
    assert len(lines) == picture.count
    for label, line in enumerate(lines, start=1):
        x, y = np.array(line.split(","), int).reshape(-1, 2).T
        assert set(picture.masks[y, x]) == {label}


def test_pictures_decode(results):
    for name in ("preview.png", "graph.png"):
        pixels = imagecodecs.png_decode((results / name).read_bytes())
        assert pixels.shape[2] == 3
        coloured = pixels[np.ptp(pixels, axis=2) > 0]
        seen = {tuple(colour) for colour in np.unique(coloured, axis=0).tolist()}
        assert len(seen & {tuple(colour) for colour in PALETTE.tolist()}) > 5  # over grey


def test_the_report_of_a_stack_of_60_planes_is_under_5_megabytes(fcp_data, tmp_path):
    outputs = {"report": OUTPUTS["report"]}
    found = segment(fcp_data / THICK, tmp_path, outputs, "--diameter", 47, "--anisotropy", 1.1)
    assert found.masks.shape == (60, 256, 256)
    assert (found / "report.html").stat().st_size < 5e6
