import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, uniform_filter

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE
from fcp_runtime.machine.workers import Workers
from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import Network
from fcp_runtime.sampling.normalize import Intensity
from fcp_runtime.sampling.plan import OWN_SLICE, plan
from fcp_runtime.sampling.seam_buffer import SeamBuffer
from fcp_runtime.sampling.sweep import compute_fields
from fcp_runtime.sampling.views import VIEW_2D, VIEWS_3D

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
LEVELS = Intensity(20.0, 90.0)
FLOW_AXES = {("XY", 2): (0, 1), ("XY", 3): (1, 2), ("ZY", 3): (0, 1), ("ZX", 3): (0, 2)}


def stack(shape, dtype=np.uint16, seed=0):
    return np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)


def pointwise(tile):
    """Flow down x, flow right 2 x, logit 3 x - 1."""
    image = tile[0, 0]
    return np.stack([image, 2 * image, 3 * image - 1])


def fields_of(pixels, network=pointwise, *, threads=2, **changes):
    options = {
        "views": VIEWS_3D,
        "scale": 0.68,
        "anisotropy": 1.0,
        "intensities": [LEVELS] * len(pixels),
        "tile": 64,
        "overlap": 16,
    }
    return compute_fields(pixels, network, workers=Workers(threads), **(options | changes))


def slices_of(volume, view):
    """The slices of a view with their rows and columns in order."""
    return volume.transpose(view.normal, view.rows, view.cols)


def resampled(image, lengths, scales):
    """An image sampled to the network's grid and back, one pixel at a time (scipy)."""
    sizes = [max(1, int(np.ceil(n * s - 1e-6))) for n, s in zip(lengths, scales, strict=True)]
    there = [(np.arange(n) + 0.5) / s - 0.5 for n, s in zip(sizes, scales, strict=True)]
    back = [
        np.clip((np.arange(n) + 0.5) * s - 0.5, 0, size - 1)
        for n, s, size in zip(lengths, scales, sizes, strict=True)
    ]
    seen = map_coordinates(image, np.meshgrid(*there, indexing="ij"), order=1, mode="reflect")
    return map_coordinates(seen, np.meshgrid(*back, indexing="ij"), order=1, mode="nearest")


def expected_pointwise(pixels, views, scale, anisotropy):
    ndim = views[0].ndim
    flow, logit = np.zeros((ndim, *pixels.shape)), np.zeros(pixels.shape)
    levels = (pixels.astype(float) - LEVELS.low) / (LEVELS.high - LEVELS.low)
    for view in views:
        scales = (scale * view.zoom * anisotropy, scale * view.zoom, scale * view.zoom)
        lengths = pixels.shape[view.rows], pixels.shape[view.cols]
        pair = scales[view.rows], scales[view.cols]
        down, right = (slices_of(flow[axis], view) for axis in FLOW_AXES[view.name, ndim])
        for k, image in enumerate(slices_of(levels, view)):
            value = resampled(image, lengths, pair)
            share = 2 if ndim == 3 else len(views)
            down[k] += np.rint(value / 5 * FLOW_SCALE / share)
            right[k] += np.rint(2 * value / 5 * FLOW_SCALE / share)
            slices_of(logit, view)[k] += np.rint((3 * value - 1) * LOGIT_SCALE / len(views))
    return flow, logit


@pytest.mark.parametrize(
    "views",
    [(VIEW_2D,), (VIEW_2D, replace(VIEW_2D, zoom=1.4)), VIEWS_3D],
    ids=["2d", "2d at two scales", "3d"],
)
@pytest.mark.parametrize(
    ("shape", "scale", "anisotropy", "dtype"),
    [
        ((5, 90, 130), 0.68, 1.0, np.uint16),
        ((12, 70, 40), 0.8, 3.1, np.uint8),
        ((40, 30, 35), 1.7, 0.5, np.int16),
        ((7, 100, 33), 0.5, 5.0, np.float32),
        ((3, 1, 64), 0.9, 1.0, np.int8),
        ((2, 40, 1), 2.3, 2.0, np.uint16),
        ((1, 1, 1), 0.68, 1.0, np.uint16),
    ],
)
def test_fields_are_the_image_sampled_forth_and_back(shape, scale, anisotropy, dtype, views):
    pixels = stack(shape, dtype)
    fields = fields_of(pixels, views=views, scale=scale, anisotropy=anisotropy)
    flow, logit = expected_pointwise(pixels, views, scale, anisotropy)
    assert np.abs(fields.flow - flow).max() <= 2  # float32 may round each share the other way
    assert np.abs(fields.logit - logit).max() <= 3
    assert np.ptp(fields.logit) > 0 or pixels.size == 1


def test_a_small_scale_sees_area_means():
    pixels = stack((4, 48, 32))
    seen = []

    def network(tile):
        seen.append(tile[0, 0].copy())
        return pointwise(tile)

    fields_of(pixels, network, views=(VIEW_2D,), scale=0.25, threads=1)
    blocks = pixels.reshape(4, 12, 4, 8, 4).mean(axis=(2, 4))
    for tile, block in zip(seen, blocks, strict=True):
        np.testing.assert_allclose(tile[:12, :8], (block - 20) / 70, atol=1e-5)


def recorded_tiles(pixels, **changes):
    tiles = []

    def network(tile):
        tiles.append(tile.copy())
        return pointwise(tile)

    fields_of(pixels, network, threads=1, **changes)
    return np.array(tiles)[:, 0, 0]


def test_reflected_pixels_fill_the_far_edge():
    pixels = stack((1, 61, 45))
    (tile,) = recorded_tiles(pixels, views=(VIEW_2D,), scale=0.7)
    assert tile.shape == (48, 32)  # of 43 and 32 network pixels
    position = [(np.arange(n) + 0.5) / 0.7 - 0.5 for n in tile.shape]
    levels = (pixels[0] - 20.0) / 70
    expected = map_coordinates(
        levels, np.meshgrid(*position, indexing="ij"), order=1, mode="reflect"
    )
    np.testing.assert_allclose(tile, expected, atol=1e-5)


@pytest.mark.parametrize("view", VIEWS_3D, ids=lambda view: view.name)
def test_a_tile_is_the_same_pixels_whichever_slices_are_asked(view):
    pixels = stack((70, 75, 80))
    whole = recorded_tiles(pixels, views=(view,), tile=64)
    some = recorded_tiles(np.take(pixels, range(33, 50), axis=view.normal), views=(view,), tile=64)
    size = pixels.shape[view.normal]

    def by_slice(tiles, slices):
        """Tiles come band by band, tile by tile, slice by slice of a group."""
        found = [[] for _ in range(slices)]
        queue = iter(tiles)
        per_slice = len(tiles) // slices
        for first in range(0, slices, view.group(slices)):
            group = range(first, min(first + view.group(slices), slices))
            for _ in range(per_slice):
                for k in group:
                    found[k].append(next(queue))
        return np.array(found)

    np.testing.assert_array_equal(by_slice(some, 17), by_slice(whole, size)[33:50])


def test_tiles_blend_by_their_weights():
    """Each tile gives its own mean: every pixel is the weighted mean of the tiles over it."""
    pixels = stack((1, 150, 200))
    view = (VIEW_2D,)

    def network(tile):
        return np.full((3, *tile.shape[2:]), tile.mean(), np.float32)

    fields = fields_of(pixels, network, views=view, scale=1.0)
    options = {"views": view, "scale": 1.0, "anisotropy": 1.0, "tile": 64, "overlap": 16}
    (part,) = plan(pixels.shape, **options)
    tiles = recorded_tiles(pixels, views=view, scale=1.0)
    rows, cols = part.rows.grid, part.cols.grid
    total = np.zeros((rows.extent, cols.extent))
    for i, tile in enumerate(tiles):
        r, c = divmod(i, cols.count)
        place = (
            slice(r * rows.stride, r * rows.stride + rows.edge),
            slice(c * cols.stride, c * cols.stride + cols.edge),
        )
        total[place] += np.outer(rows.weights()[r], cols.weights()[c]) * tile.mean()
    expected = np.rint(total[:150, :200] * LOGIT_SCALE)
    assert rows.count > 2
    assert cols.count > 2
    assert np.abs(fields.logit[0] - expected).max() <= 1


def test_thread_counts_do_not_change_a_bit():
    network = Network(load_model(TINY))
    pixels = stack((70, 150, 90))
    one, two, three = (fields_of(pixels, network, threads=n, anisotropy=2.0) for n in (1, 2, 3))
    for other in (two, three):
        np.testing.assert_array_equal(other.flow, one.flow)
        np.testing.assert_array_equal(other.logit, one.logit)


def test_concurrent_calls_do_not_disturb_each_other():
    network = Network(load_model(TINY))
    stacks = [stack((9, 100, 90), seed=seed) for seed in range(4)]
    alone = [fields_of(pixels, network, threads=1) for pixels in stacks]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pixels: fields_of(pixels, network), stacks))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.flow, other.flow)
        np.testing.assert_array_equal(one.logit, other.logit)


def test_the_session_gives_what_the_plain_function_gives():
    pixels = stack((5, 70, 90))
    session, plain = fields_of(pixels, Network(load_model(TINY))), fields_of(pixels)
    assert np.abs(session.flow.astype(int) - plain.flow).max() <= 1
    assert np.abs(session.logit.astype(int) - plain.logit).max() <= 1


def test_enormous_output_saturates():
    def network(tile):
        return pointwise(np.sign(tile - 0.5) * np.float32(1e6))

    pixels = np.zeros((6, 40, 50), np.uint8)
    pixels[:, :20] = 120
    fields = fields_of(pixels, network)
    assert (fields.logit[:, 0] == 32767).all()
    assert (fields.logit[:, -1] == -32768).all()
    assert (fields.flow[:, :, 0] == 127).all()
    assert (fields.flow[:, :, -1] == -128).all()


def test_each_plane_has_its_own_intensity_in_2d():
    pixels = stack((3, 40, 50))
    brighter = pixels.copy()
    brighter[1] *= 10
    own = [LEVELS, Intensity(200.0, 900.0), LEVELS]
    expected = fields_of(pixels, views=(VIEW_2D,))
    found = fields_of(brighter, views=(VIEW_2D,), intensities=own)
    assert np.abs(found.logit.astype(int) - expected.logit).max() <= 1


def test_a_plane_without_signal_has_the_lowest_logit_and_is_not_looked_at():
    pixels = stack((3, 40, 50))
    full = fields_of(pixels, views=(VIEW_2D,))
    calls = []

    def network(tile):
        calls.append(tile.shape)
        return pointwise(tile)

    found = fields_of(pixels, network, views=(VIEW_2D,), intensities=[LEVELS, None, LEVELS])
    assert len(calls) == 2
    assert (found.logit[1] == -32768).all()
    assert (found.flow[:, 1] == 0).all()
    np.testing.assert_array_equal(found.logit[::2], full.logit[::2])
    nothing = fields_of(pixels, network, intensities=[None] * 3)
    assert (nothing.logit == -32768).all()
    assert len(calls) == 2


@pytest.mark.parametrize("intensities", [[LEVELS], [LEVELS, LEVELS, None]])
def test_intensities_must_fit_the_planes(intensities):
    with pytest.raises(ValueError, match="intensity for each plane"):
        fields_of(stack((3, 20, 20)), intensities=intensities)


def test_memory_order_does_not_matter():
    pixels = stack((9, 60, 70))
    wide = np.zeros((9, 120, 140), np.uint16)
    wide[:, ::2, ::2] = pixels
    expected = fields_of(pixels)
    read_only = pixels.copy()
    read_only.flags.writeable = False
    for same in (wide[:, ::2, ::2], np.asfortranarray(pixels), read_only):
        found = fields_of(same)
        np.testing.assert_array_equal(found.flow, expected.flow)
        np.testing.assert_array_equal(found.logit, expected.logit)


def test_progress_counts_to_the_end_in_the_calling_thread():
    reports = []

    def progress(stage, done, total):
        reports.append((stage, done, total, threading.current_thread()))

    fields_of(stack((9, 100, 70)), progress=progress)
    stages, done, totals, threads = zip(*reports, strict=True)
    assert set(stages) == {"network"}
    assert list(done) == sorted(done)
    assert set(totals) == {done[-1]}
    assert set(threads) == {threading.current_thread()}


def test_a_failing_network_stops_the_sweep():
    def network(tile):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fields_of(stack((9, 100, 70)), network)


def test_the_plan_counts_the_tiles_that_are_done():
    pixels = stack((40, 150, 90))
    options = {"views": VIEWS_3D, "scale": 0.9, "anisotropy": 2.0, "tile": 64, "overlap": 16}
    parts = plan(pixels.shape, **options)
    for part in parts:
        tiles = recorded_tiles(pixels, **(options | {"views": (part.view,)}))
        assert part.tiles == len(tiles)
        assert part.tile_pixels == tiles.size
    assert parts[0].tiles == 40 * 3 * 2


def test_bands_are_written_once_whatever_order_they_come_in():
    for order in permutations(range(4)):
        waiting = SeamBuffer(4)
        strips = [np.full((1, 1), band) for band in range(4)]
        written = [ready for band in order for ready in waiting.add(band, strips[band])]
        assert sorted(part for part, _, _ in written) == [0, 1, 2, 3]
        for part, before, own in written:
            assert own is strips[part]
            assert before is (strips[part - 1] if part else None)
        assert not waiting._rows  # nothing is held longer than it is needed


@pytest.mark.parametrize("shape", [(24, 60, 70), (11, 37, 41), (2, 9, 13)])
def test_thick_slices_see_means_and_are_interpolated_back(shape):
    """With pixels that change along one axis alone, each view shows what binning does to it."""
    for view in VIEWS_3D:
        profile = np.random.default_rng(1).integers(0, 120, shape[view.normal])
        pixels = np.moveaxis(
            np.broadcast_to(profile, (*np.delete(shape, view.normal), len(profile))),
            -1,
            view.normal,
        ).astype(np.uint16)
        fields = fields_of(pixels, views=(view,), scale=0.5, slice_spacing=1.5)
        groups = [profile[i : i + 3] for i in range(0, len(profile), 3)]
        middle = [3 * i + (len(group) - 1) / 2 for i, group in enumerate(groups)]
        means = [(group.mean() - LEVELS.low) / 70 for group in groups]
        own = np.repeat(means, [len(group) for group in groups])
        between = np.interp(np.arange(len(profile)), middle, means)
        line = between + OWN_SLICE * (own - between)
        expected = np.moveaxis(
            np.broadcast_to(
                (3 * line - 1) * LOGIT_SCALE / 3,
                fields.logit.shape[:0] + tuple(np.delete(shape, view.normal)) + (len(line),),
            ),
            -1,
            view.normal,
        )
        assert np.abs(fields.logit - expected).max() <= 2


def test_thick_slices_do_not_depend_on_threads():
    network = Network(load_model(TINY))
    pixels = stack((45, 90, 77))
    options = {"scale": 0.5, "anisotropy": 1.0, "slice_spacing": 1.5, "empty_logit": 0.0}
    one, two, three = (fields_of(pixels, network, threads=n, **options) for n in (1, 2, 3))
    for other in (two, three):
        np.testing.assert_array_equal(other.flow, one.flow)
        np.testing.assert_array_equal(other.logit, one.logit)


def two_balls(shape, gap):
    """Two bright balls far from each other on a dark ground."""
    z, y, x = np.indices(shape)
    middle = shape[0] // 2, shape[1] // 2
    near = [(z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - at) ** 2 < 64 for at in (20, gap)]
    return np.where(near[0] | near[1], 90, 20).astype(np.uint16)


@pytest.mark.parametrize("slice_spacing", [0.0, 1.5])
@pytest.mark.parametrize("sight", [1, 9])
def test_empty_space_is_left_out_and_what_is_found_stays(slice_spacing, sight):
    """A network that sees so many pixels, fewer than it is given around what there is."""
    pixels = two_balls((40, 90, 400), 370)
    seen = []

    def network(tile):
        seen.append(tile.size)
        image = uniform_filter(tile[0, 0], sight, mode="nearest")
        return np.stack([image, 2 * image, 20 * image - 10])

    options = {"scale": 0.68, "slice_spacing": slice_spacing}
    full = fields_of(pixels, network, **options)
    all_of_it = sum(seen)
    found = fields_of(pixels, network, empty_logit=-5.0, **options)
    assert sum(seen) - all_of_it < all_of_it * 0.5
    bright = full.logit > -3 * LOGIT_SCALE
    assert bright.sum() > 2000
    np.testing.assert_array_equal(found.logit[bright], full.logit[bright])
    np.testing.assert_array_equal(found.flow[:, bright], full.flow[:, bright])
    assert (found.logit[~bright] <= -3 * LOGIT_SCALE).all()


def test_a_view_that_is_left_out_counts_with_the_empty_logit():
    def network(tile):
        return np.stack([tile[0, 0], tile[0, 0], np.full(tile.shape[2:], -9.0, np.float32)])

    fields = fields_of(stack((4, 40, 50)), network, empty_logit=-3.0)
    probes = {0, 3}  # all others are empty in every view
    for z, plane in enumerate(fields.logit):
        expected = (-9 - 3 - 3) / 3 if z in probes else -3
        assert np.abs(plane - expected * LOGIT_SCALE).max() <= 3
