"""Films in TIFF: read a frame at a time, and written so."""

from __future__ import annotations

import json
import tracemalloc
import warnings

import numpy as np
import pytest
import tifffile

from fcp_runtime import FcpWarning, InputError, OutputError, read_volume
from fcp_runtime.io.film import count_frames, open_film
from fcp_runtime.io.tiff.write_film import label_film


@pytest.fixture
def movie():
    rng = np.random.default_rng(0)
    return rng.integers(0, 60000, (5, 3, 2, 12, 16), np.uint16)  # T, Z, C, Y, X


def write(path, pixels, axes, **options):
    kind = {"ome": True} if path.name.endswith(".ome.tif") else {"imagej": True}
    if options.pop("plain", False):
        kind = {}
    metadata = {"axes": axes, "finterval": 30.0} | options.pop("metadata", {})
    if "ome" in kind:
        metadata = {"axes": axes, "TimeIncrement": 30.0, "TimeIncrementUnit": "s"}
    tifffile.imwrite(path, pixels, metadata=metadata, **kind, **options)


@pytest.mark.parametrize("name", ["film.tif", "film.ome.tif"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("axes", ["TYX", "TZYX", "TCYX", "TZCYX"])
def test_every_frame_is_that_of_the_file(tmp_path, movie, name, compression, axes):
    whole = movie[:, 0 if "Z" not in axes else slice(None)]
    whole = whole if "C" in axes else whole[..., 0, :, :]
    write(tmp_path / name, whole, axes, compression=compression)
    expected = whole if "C" not in axes else whole[..., 1, :, :]
    channel = 1 if "C" in axes else None
    assert count_frames(tmp_path / name, channel=channel) == 5
    with open_film(tmp_path / name, channel=channel) as film:
        assert film.frames == 5
        assert film.interval_s == 30.0
        assert film.form.shape == expected.shape[1:]
        for number in (3, 0, 4):
            np.testing.assert_array_equal(film.frame(number).pixels, expected[number])
            others = film.other_channels(number)
            assert set(others) == ({"channel0"} if "C" in axes else set())
            for pixels in others.values():
                np.testing.assert_array_equal(pixels, whole[number][..., 0, :, :])
        with pytest.raises(InputError, match="frames 0 to 4"):
            film.frame(5)


def test_an_image_or_a_stack_has_no_frames(tmp_path, movie):
    write(tmp_path / "stack.tif", movie[0, :, 0], "ZYX")
    assert count_frames(tmp_path / "stack.tif") is None
    with pytest.raises(InputError, match="--axes TYX"), open_film(tmp_path / "stack.tif"):
        pass


def test_axes_make_planes_of_time_points_and_the_reverse(tmp_path, movie):
    frames = movie[:, 0, 0]
    write(tmp_path / "film.tif", frames, "TYX")
    write(tmp_path / "stack.tif", frames, "ZYX")
    np.testing.assert_array_equal(read_volume(tmp_path / "film.tif", axes="ZYX").pixels, frames)
    with open_film(tmp_path / "stack.tif", axes="TYX") as film:
        np.testing.assert_array_equal(film.frame(2).pixels, frames[2])


def test_time_points_without_an_interval_might_be_planes_and_that_is_said(tmp_path, movie):
    path = tmp_path / "film.tif"
    tifffile.imwrite(path, movie[:, 0, 0], imagej=True, metadata={"axes": "TYX"})
    with pytest.warns(FcpWarning, match="--axes ZYX"), open_film(path):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_film(path, axes="TYX"):  # the user said so
            pass
        write(path, movie[:, 0, 0], "TYX")
        with open_film(path):
            pass


def test_a_film_is_no_volume_and_the_error_says_what_reads_it(tmp_path, movie):
    write(tmp_path / "film.tif", movie[:, 0, 0], "TYX")
    with pytest.raises(InputError, match=r"5 time points.*open_film.*--axes ZYX"):
        read_volume(tmp_path / "film.tif")


def test_a_frame_is_read_without_the_others(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (40, 256, 256), np.uint8)
    write(tmp_path / "film.tif", frames, "TYX", compression="zlib")
    with open_film(tmp_path / "film.tif") as film:
        film.frame(0)
        tracemalloc.start()
        for number in range(film.frames):
            film.frame(number)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 6 * frames[0].nbytes


@pytest.mark.parametrize("name", ["labels.tif", "labels.ome.tif"])
@pytest.mark.parametrize("shape", [(6, 7), (3, 6, 7)])
def test_a_label_film_is_read_back_as_it_was(tmp_path, name, shape):
    labels = np.random.default_rng(0).integers(0, 300, (4, *shape), np.uint16)
    path = tmp_path / name
    with label_film(
        path, shape, settings={"model": "v3"}, voxel_um=(2.0, 0.5, 0.5), interval_s=60.0
    ) as film:
        for frame in labels:
            film.add(frame)
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        assert series.axes == "T" + "ZYX"[-len(shape) :]
        assert series.dtype == np.uint16
        np.testing.assert_array_equal(series.asarray(), labels)
        if tif.imagej_metadata:
            assert json.loads(tif.imagej_metadata["Info"]) == {"model": "v3"}
    with open_film(path) as film:
        assert film.interval_s == 60.0
        assert film.form.voxel_um == ((2.0, 0.5, 0.5) if len(shape) == 3 else (0.5, 0.5, 0.5))
        np.testing.assert_array_equal(film.frame(3).pixels, labels[3])


def test_numbers_beyond_16_bits_make_the_whole_film_32_bits(tmp_path):
    small, large = np.full((4, 4), 7, np.uint32), np.full((4, 4), 70_000, np.uint32)

    def write_both():
        with label_film(tmp_path / "x.tif", (4, 4), settings={}) as film:
            film.add(small)
            film.add(large)

    with pytest.warns(FcpWarning, match="OME-TIFF"):
        write_both()
    written = tifffile.imread(tmp_path / "x.tif")
    assert written.dtype == np.uint32
    np.testing.assert_array_equal(written, [small, large])


def test_an_interrupted_film_leaves_nothing(tmp_path):
    def interrupted():
        with label_film(tmp_path / "x.tif", (4, 4), settings={}) as film:
            film.add(np.zeros((4, 4), np.uint16))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("frame", [np.zeros((4, 5), np.uint16), np.zeros((4, 4), np.float32)])
def test_a_frame_of_another_form_is_refused(tmp_path, frame):
    with (
        pytest.raises(OutputError, match="frame 0"),
        label_film(tmp_path / "x.tif", (4, 4), settings={}) as film,
    ):
        film.add(frame)
    assert not list(tmp_path.iterdir())


def test_the_same_frames_make_the_same_bytes(tmp_path):
    for name in ("a.tif", "b.tif"):
        with label_film(tmp_path / name, (4, 4), settings={"k": 1}) as film:
            film.add(np.eye(4, dtype=np.uint16))
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
