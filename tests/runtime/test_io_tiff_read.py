"""Images of every kind that microscopes and Fiji write are read as tifffile itself shows them."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.tiff import read_labels, read_volume
from fcp_runtime.machine.workers import Workers

RNG = np.random.default_rng(1)
STACK = RNG.integers(0, 60_000, (6, 33, 47)).astype(np.uint16)
HYPER = np.stack([STACK, 60_000 - STACK], axis=1)  # (Z, C, Y, X)


def write(path, array, **options):
    tifffile.imwrite(path, array, photometric=options.pop("photometric", "minisblack"), **options)
    return path


@given(
    data=st.data(),
    dtype=st.sampled_from(["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f2", "f8", "u8", "i8"]),
    order=st.sampled_from("<>"),
    compression=st.sampled_from([None, "zlib", "lzw", "packbits"]),
    predictor=st.booleans(),
    tile=st.sampled_from([None, (16, 16), (32, 16)]),
    bigtiff=st.booleans(),
    shape=st.sampled_from([(1, 1), (5, 40), (33, 21), (1, 7), (5, 1, 2), (6, 17, 19)]),
)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pixels_survive_any_type_byte_order_compression_and_tiling(
    tmp_path, data, dtype, order, compression, predictor, tile, bigtiff, shape
):
    array = data.draw(hnp.arrays(np.int8, shape, elements=st.integers(0, 127))).astype(dtype)
    whole = dtype[1] != "8" and dtype != "f2"
    path = tmp_path / "a.tif"
    write(
        path,
        array,
        byteorder=order,
        compression=compression,
        predictor=predictor and compression in {"zlib", "lzw"} and whole,
        tile=tile,
        bigtiff=bigtiff,
        metadata={"axes": "ZYX"[-len(shape) :]},
    )
    volume = read_volume(path, workers=Workers(2))
    np.testing.assert_array_equal(volume.pixels, array)
    assert volume.pixels.dtype.isnative
    assert volume.pixels.dtype == np.dtype(
        {"f2": "f4", "f8": "f4", "i8": "i4", "u8": "i4"}.get(dtype, dtype)
    )
    assert volume.pixels.flags.c_contiguous
    assert volume.pixels.flags.aligned
    assert volume.pixels.flags.writeable
    assert volume.name == str(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    "options",
    [
        {"ome": True, "metadata": {"axes": "ZCYX"}},
        {"imagej": True, "metadata": {"axes": "ZCYX"}},
        {"metadata": {"axes": "ZCYX"}},
    ],
    ids=["ome", "imagej", "shaped"],
)
@pytest.mark.parametrize("channel", [0, 1])
def test_one_channel_of_a_hyperstack_is_read(tmp_path, compression, options, channel):
    path = write(tmp_path / "a.tif", HYPER, compression=compression, **options)
    np.testing.assert_array_equal(read_volume(path, channel=channel).pixels, HYPER[:, channel])
    with pytest.raises(InputError, match=r"2 channels; choose one with --channel 0 to 1"):
        read_volume(path)


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX"])
def test_ome_axes_in_either_order_are_understood(tmp_path, axes):
    array = HYPER if axes == "ZCYX" else HYPER.swapaxes(0, 1)
    path = write(tmp_path / "a.ome.tif", array, metadata={"axes": axes})
    np.testing.assert_array_equal(read_volume(path, channel=1).pixels, HYPER[:, 1])


def test_only_the_wanted_channel_is_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", HYPER, compression="zlib", metadata={"axes": "ZCYX"})
    decoded = []
    real = tifffile.TiffFrame.asarray
    monkeypatch.setattr(
        tifffile.TiffFrame,
        "asarray",
        lambda self, **options: decoded.append(self.index) or real(self, **options),
    )
    read_volume(path, channel=1, workers=Workers(1))
    assert decoded == [1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_without_metadata_are_the_planes_of_a_stack(tmp_path, compression):
    path = write(tmp_path / "a.tif", STACK, metadata=None, compression=compression)
    np.testing.assert_array_equal(read_volume(path).pixels, STACK)


def test_few_pages_without_metadata_need_a_word_from_the_user(tmp_path):
    path = write(tmp_path / "a.tif", STACK[:3], metadata=None)
    with pytest.raises(InputError, match=r"--axes ZYX .* --channel 0 to 2"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, axes="ZYX").pixels, STACK[:3])
    np.testing.assert_array_equal(read_volume(path, channel=2).pixels, STACK[2])
    np.testing.assert_array_equal(read_labels(path), STACK[:3])


@pytest.mark.parametrize("axes", ["YXZ", "YZX", "ZXY", "XYZ"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_stated_axes_bring_pixels_into_the_order_of_a_stack(tmp_path, axes, compression):
    stored = STACK.transpose(["ZYX".index(axis) for axis in axes])
    path = write(tmp_path / "a.tif", stored, metadata=None, compression=compression)
    np.testing.assert_array_equal(read_volume(path, axes=axes).pixels, STACK)


def test_of_a_pyramid_the_full_resolution_is_read(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(STACK, subifds=2, metadata={"axes": "ZYX"}, tile=(16, 16), compression="zlib")
        tif.write(STACK[:, ::2, ::2], subfiletype=1, tile=(16, 16), compression="zlib")
        tif.write(STACK[:, ::4, ::4], subfiletype=1, tile=(16, 16), compression="zlib")
    np.testing.assert_array_equal(read_volume(path).pixels, STACK)


def test_a_smaller_second_image_is_left_with_a_warning(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(STACK, metadata={"axes": "ZYX"})
        tif.write(STACK[0, :9, :9])
    with pytest.warns(FcpWarning, match="2 images; the first"):
        np.testing.assert_array_equal(read_volume(path).pixels, STACK)


def test_several_images_of_a_size_are_refused(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(STACK, metadata={"axes": "ZYX"})
        tif.write(STACK, metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="holds 2 images"):
        read_volume(path)


def test_time_points_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", HYPER, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match="6 time points"):
        read_volume(path)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_one_colour_is_read_and_grey_saved_as_colour_needs_no_choice(
    tmp_path, samples, planar, compression
):
    grey = (STACK[0] >> 8).astype(np.uint8)
    colour = np.stack([grey] * 3 + [np.full_like(grey, 255)] * (samples - 3), axis=-1)
    options = {"photometric": "rgb", "planarconfig": planar, "compression": compression}
    if samples == 4:
        options["extrasamples"] = ["unassalpha"]

    def stored(array):
        order = np.moveaxis(array, -1, 0) if planar == "separate" else array
        return write(tmp_path / "a.tif", np.ascontiguousarray(order), **options)

    np.testing.assert_array_equal(read_volume(stored(colour)).pixels, grey)
    colour[3, 5, 1] ^= 1
    path = stored(colour)
    with pytest.raises(InputError, match=r"colour image; choose --channel 0 \(red\)"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, channel=1).pixels, colour[..., 1])


def test_jpeg_compressed_images_are_read(tmp_path):
    smooth = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)
    path = write(tmp_path / "a.tif", np.stack([smooth] * 5), compression="jpeg", metadata=None)
    pixels = read_volume(path).pixels
    assert pixels.shape == (5, 64, 80)
    assert np.abs(pixels.astype(int) - smooth).max() <= 4


def test_bilevel_images_become_0_and_1(tmp_path):
    mask = STACK[0] > 30_000
    tifffile.imwrite(tmp_path / "a.tif", mask)
    pixels = read_volume(tmp_path / "a.tif").pixels
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, mask)


def test_an_uncompressed_stack_is_mapped_and_writing_to_it_leaves_the_file_alone(tmp_path):
    path = write(tmp_path / "a.tif", STACK, metadata={"axes": "ZYX"})
    before = path.read_bytes()
    pixels = read_volume(path).pixels
    base = pixels
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    pixels[:] = 0
    assert path.read_bytes() == before


def test_an_imagej_stack_with_a_single_directory_is_read_whole(tmp_path):
    path = tmp_path / "a.tif"  # as ImageJ writes stacks beyond 4 GiB
    write(path, STACK, imagej=True, metadata={"axes": "ZYX"}, truncate=True)
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 1
    np.testing.assert_array_equal(read_volume(path).pixels, STACK)


def test_a_set_of_ome_files_is_read_as_one_stack(tmp_path):
    path = _ome_set(tmp_path)
    np.testing.assert_array_equal(read_volume(path, workers=Workers(2)).pixels, STACK)


def test_a_set_of_ome_files_with_one_missing_is_refused(tmp_path):
    path = _ome_set(tmp_path)
    (tmp_path / "second.ome.tif").unlink()
    with pytest.raises(InputError, match=r"3 of its 6 planes are missing; .* set of files"):
        read_volume(path)


def _ome_set(folder):
    """Write STACK as two files that one OME header joins."""
    blocks = "".join(
        f'<TiffData FirstZ="{3 * index}" IFD="0" PlaneCount="3">'
        f'<UUID FileName="{name}.ome.tif">urn:uuid:{index}</UUID></TiffData>'
        for index, name in enumerate(("first", "second"))
    )
    for index, name in enumerate(("first", "second")):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{index}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="47" SizeY="33" SizeZ="6" SizeC="1" '
            f'SizeT="1">{blocks}</Pixels></Image></OME>'
        )
        part = STACK[3 * index : 3 * index + 3]
        path = folder / f"{name}.ome.tif"
        write(path, part, ome=False, description=xml, metadata=None, compression="zlib")
    return folder / "first.ome.tif"


@pytest.mark.parametrize(
    ("units", "factor"),
    [({}, 1.0), ("nm", 1e-3), ("mm", 1e3), ("µm", 1.0), ("\u03bcm", 1.0), ("pixel", None)],
)
def test_ome_states_the_voxel_size_in_its_units(tmp_path, units, factor):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    if units:
        metadata |= {f"PhysicalSize{axis}Unit": units for axis in "XYZ"}
    path = write(tmp_path / "a.ome.tif", STACK, metadata=metadata)
    expected = factor and (2.0 * factor, 0.5 * factor, 0.25 * factor)
    assert read_volume(path).voxel_um == (expected and pytest.approx(expected))


def test_an_ome_stack_without_plane_spacing_has_no_voxel_size_but_an_image_has(tmp_path):
    size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    path = write(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX", **size})
    assert read_volume(path).voxel_um is None
    path = write(tmp_path / "b.ome.tif", STACK[0], metadata={"axes": "YX", **size})
    assert read_volume(path).voxel_um == (0.25, 0.5, 0.25)


def test_an_impossible_voxel_size_is_ignored_with_a_warning(tmp_path):
    size = {f"PhysicalSize{axis}": 0.0 for axis in "XYZ"}
    path = write(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX", **size})
    with pytest.warns(FcpWarning, match="voxel size"):
        assert read_volume(path).voxel_um is None


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("micron", 1.0), ("um", 1.0), ("\\u00B5m", 1.0), ("nm", 1e-3), ("mm", 1e3), ("pixel", None)],
)
def test_imagej_states_the_voxel_size_in_its_units(tmp_path, unit, factor):
    path = _imagej(tmp_path, unit=unit, spacing=2.0)
    expected = factor and (2.0 * factor, 0.5 * factor, 0.25 * factor)
    assert read_volume(path).voxel_um == (expected and pytest.approx(expected))


def test_imagej_leaves_a_spacing_of_1_out_which_is_said(tmp_path):
    path = _imagej(tmp_path, unit="micron", ImageJ="1.54f")
    with pytest.warns(FcpWarning, match="states no plane spacing.*1 micron.*--anisotropy"):
        assert read_volume(path).voxel_um == pytest.approx((1.0, 0.5, 0.25))


def test_other_programs_that_write_imagej_files_without_spacing_mean_nothing(tmp_path):
    assert read_volume(_imagej(tmp_path, unit="micron")).voxel_um is None


def test_an_imagej_image_needs_no_spacing(tmp_path):
    path = tmp_path / "a.tif"
    write(path, STACK[0], imagej=True, resolution=(4, 2), metadata={"unit": "um", "ImageJ": "1.5"})
    assert read_volume(path).voxel_um == pytest.approx((0.25, 0.5, 0.25))


def test_the_resolution_of_other_files_is_not_believed(tmp_path):
    path = tmp_path / "a.tif"
    write(path, STACK[0], resolution=(72, 72), resolutionunit="inch")
    assert read_volume(path).voxel_um is None


def _imagej(folder, **metadata):
    metadata["axes"] = "ZYX"
    return write(folder / "a.tif", STACK, imagej=True, resolution=(4, 2), metadata=metadata)


def test_progress_is_reported_plane_by_plane(tmp_path):
    path = write(tmp_path / "a.tif", STACK, compression="zlib", metadata={"axes": "ZYX"})
    seen = []
    read_volume(path, workers=Workers(1), progress=lambda *step: seen.append(step))
    assert seen[0] == ("read", 0, 6)
    assert seen[-1] == ("read", 6, 6)
    assert seen == sorted(set(seen))
    assert len(seen) > 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="exact peaks are Linux's")
@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"byteorder": ">"},
        {"compression": "zlib", "metadata": {"axes": "ZCYX"}},
        {"metadata": {"axes": "ZCYX"}},
    ],
    ids=["compressed", "other byte order", "compressed channel", "channel"],
)
def test_reading_takes_the_memory_of_the_array_and_a_few_planes(tmp_path, options):
    shape = (48, 2, 512, 1024) if "metadata" in options else (48, 512, 1024)
    channel = "0" if "metadata" in options else ""
    path = write(tmp_path / "a.tif", np.ones(shape, np.uint16), **options)
    code = (
        "import sys\n"
        "from fcp_runtime.io.tiff import read_volume\n"
        "from fcp_runtime.machine.system import peak_memory\n"
        "from fcp_runtime.machine.workers import Workers\n"
        "before = peak_memory()\n"
        "read_volume(sys.argv[1], channel=sys.argv[2] or None, workers=Workers(2))\n"
        "print(peak_memory() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, channel], capture_output=True, text=True, check=True
    )
    array = 48 * 512 * 1024 * 2
    assert array < int(done.stdout) < array + (24 << 20)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(tmp_path, threads):
    path = write(tmp_path / "a.tif", HYPER, compression="zlib", metadata={"axes": "ZCYX"})
    pixels = read_volume(path, channel=1, workers=Workers(threads)).pixels
    np.testing.assert_array_equal(pixels, HYPER[:, 1])


def test_files_are_read_by_several_threads_at_once(tmp_path):
    good = write(tmp_path / "good.tif", STACK, metadata=None, compression="zlib")
    bad = tmp_path / "bad.tif"
    bad.write_bytes(good.read_bytes()[:9000])
    results = []

    def work(path):
        for _ in range(10):
            try:
                results.append((path, (read_volume(path).pixels == STACK).all()))
            except InputError:
                results.append((path, None))

    threads = [threading.Thread(target=work, args=(path,)) for path in (good, bad) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    assert all(result == (True if path == good else None) for path, result in results)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("u1", "u2"), ("u2", "u2"), ("i4", "u2"), ("i8", "u2"), ("f4", "u2"), ("f8", "u2")],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_labels_of_any_type_are_read_as_unsigned_numbers(tmp_path, dtype, kept, compression):
    labels = (STACK % 200).astype(dtype)
    path = write(tmp_path / "a.tif", labels, compression=compression, metadata={"axes": "ZYX"})
    found = read_labels(path)
    assert found.dtype == np.dtype(kept)
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("dtype", ["u4", "i8", "f8"])
def test_large_labels_are_read_exactly(tmp_path, dtype):
    labels = np.array([[0, 65_536], [2**31 - 129, 2**24 + 1]], dtype)
    found = read_labels(write(tmp_path / "a.tif", labels))
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array([[0, -1]], "i2"), "go from -1 to 0"),
        (np.array([[0, 2**32]], "u8"), "to 4294967296"),
        (np.array([[0, 1.5]], "f4"), "fractions"),
        (np.array([[0, np.nan]], "f4"), "NaN"),
        (np.array([[0, np.inf]], "f8"), "1 of 2 pixels"),
    ],
)
def test_what_cannot_be_labels_is_refused(tmp_path, values, says):
    path = write(tmp_path / "a.tif", values)
    with pytest.raises(InputError, match=says) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_real_images_and_labels_are_read_as_published(fcp_data):
    with (fcp_data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = {(row["source"], row["ndim"]): row for row in rows}
    assert len(first) >= 8
    for row in first.values():
        shape = tuple(map(int, row["shape"].split("x")))
        volume = read_volume(fcp_data / row["image"])
        np.testing.assert_array_equal(volume.pixels, tifffile.imread(fcp_data / row["image"]))
        assert volume.pixels.shape == shape
        if row["label"]:
            labels = read_labels(fcp_data / row["label"])
            assert labels.shape == shape
            assert labels.dtype == np.uint16
            if row["instances"]:
                assert np.unique(labels[labels > 0]).size == int(row["instances"])
