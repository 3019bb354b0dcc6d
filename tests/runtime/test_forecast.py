import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fcp_runtime import Segmenter
from fcp_runtime.cli.run import main
from fcp_runtime.fields import Fields
from fcp_runtime.forecast import band_bytes, fields_bytes, forecast, predict_memory
from fcp_runtime.io.image import Volume
from fcp_runtime.sampling.normalize import Intensity
from fcp_runtime.sampling.plan import plan
from fcp_runtime.sampling.view_pass import ViewPass
from fcp_runtime.sampling.views import VIEW_2D, VIEWS_3D

TINY = str(Path(__file__).parents[1] / "data" / "tiny.onnx")
SHAPE = (20, 90, 150)


def test_bytes_are_those_of_the_arrays():
    fields = Fields.empty(SHAPE, 3)
    assert fields_bytes(20 * 90 * 150, 3) == fields.flow.nbytes + fields.logit.nbytes
    lines = np.zeros((20 * 90, 150), np.uint16)
    for part in plan(
        SHAPE, views=VIEWS_3D, scale=0.68, anisotropy=2.0, tile=64, overlap=8, slice_spacing=1.5
    ):
        seen = []

        def network(tile, seen=seen):
            seen.append(tile)
            return np.zeros((3, *tile.shape[2:]), np.float32)

        sweep = ViewPass(part, lines, network, [Intensity(0, 1)] * 20, fields, None, (2, 3))
        group, band = sweep.phases()[0][0]
        strip = sweep._band(group, band)
        assert strip.values.nbytes + seen[0].nbytes * group.slices == band_bytes(part)


def test_memory_counts_the_image_only_where_it_outweighs_the_masks():
    views = plan((8, 64, 64), views=VIEWS_3D, scale=1.0, anisotropy=1.0, tile=64, overlap=8)
    small, large = (
        predict_memory((400, 512, 512), np.dtype(kind), views, 1) for kind in ("u2", "f8")
    )
    voxels = 400 * 512 * 512
    assert small >= voxels * 11.5  # hops, labels, ends of paths, lengths of the flow
    assert large - small == voxels * (5 + 8 - 11.5) + 2 * max(map(band_bytes, views))
    more = predict_memory((400, 512, 512), np.dtype("f8"), views, 8)
    assert more - predict_memory((400, 512, 512), np.dtype("f8"), views, 1) == 14 * max(
        map(band_bytes, views)
    )


def test_the_forecast_counts_the_tiles_that_are_computed():
    calls = []
    segmenter = Segmenter(TINY, threads=1)
    network = segmenter.network

    class Counting:
        info, diam_mean = network.info, network.diam_mean

        def __call__(self, tile):
            calls.append(tile.size)
            return network(tile)

    pixels = np.random.default_rng(0).integers(0, 99, SHAPE).astype(np.uint16)
    options = {"diameter": 25.0, "anisotropy": 2.0, "tile": 64, "overlap": 8, "empty_margin": 0.0}
    found = forecast(Volume(pixels), segmenter, **options)
    segmenter.network = Counting()
    result = segmenter.segment(pixels, **options)
    assert found.network_pixels == sum(calls)
    assert sum(part.tiles for part in found.views) == len(calls)
    assert found.settings.tile == result.settings.tile == 64
    assert found.seconds > 0


def test_planes_by_themselves_are_one_view():
    pixels = np.zeros(SHAPE, np.uint8)
    found = forecast(
        Volume(pixels), Segmenter(TINY, threads=1), mode="2d", diameter=17, augment=False
    )
    assert [part.view for part in found.views] == [VIEW_2D]
    assert found.views[0].slices == 20


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in (("a.tif", (40, 50)), ("b.tif", (6, 40, 50))):
        metadata = {"axes": "ZYX"[-len(shape) :]}
        tifffile.imwrite(tmp_path / name, rng.integers(0, 99, shape, np.uint8), metadata=metadata)
    return tmp_path


def test_a_dry_run_says_what_each_input_takes_and_writes_nothing(folder):
    before = sorted(folder.iterdir())
    own = str(Segmenter(TINY).network.diam_mean)
    options = ["--dry-run", "--json", "--model", TINY, "--diameter", own, "--anisotropy", "2"]
    done = CliRunner().invoke(main, [str(folder), *options, "-o", str(folder / "none" / "m.tif")])
    assert done.exit_code == 0, done.output
    image, stack = (json.loads(line) for line in done.stdout.splitlines())
    assert (image["shape"], image["dtype"], image["mode"]) == ([40, 50], "uint8", "2d")
    assert (stack["mode"], stack["anisotropy"]) == ("3d", 2.0)
    # mirror images at four scales: 34 x 43, 40 x 50, 48 x 60 and 56 x 70 pixels
    assert image["network_pixels"] == 40 * 48 + 40 * 56 + 48 * 64 + 56 * 72
    assert stack["tiles"]["ZY"] == {"slices": 25, "tiles": [1, 1], "edges": [16, 40]}
    assert stack["memory_bytes"] > 0
    assert sorted(folder.iterdir()) == before


def test_a_dry_run_estimates_a_diameter_that_is_not_stated(folder):
    options = ["--dry-run", "--json", "--model", TINY]
    done = CliRunner().invoke(main, [str(folder / "a.tif"), *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["diameter"] > 0


def test_a_dry_run_goes_on_after_a_file_that_cannot_be_read(folder):
    (folder / "a.tif").write_bytes(b"II*\0 and nothing more")
    options = ["--dry-run", "--model", TINY, "--diameter", "17"]
    done = CliRunner().invoke(main, [str(folder), *options])
    assert done.exit_code == 1
    assert "b.tif: 6 x 40 x 50 uint8, mode 3d, diameter 17" in done.stdout
    assert "a.tif" in done.stderr
