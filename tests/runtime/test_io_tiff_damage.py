"""A damaged file gives one clear line, never pixels that nobody measured."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.tiff import read_labels, read_volume
from fcp_runtime.machine.workers import Workers

STACK = np.random.default_rng(2).integers(1, 60_000, (6, 31, 47)).astype(np.uint16)

FLAVOURS = {
    "plain": {"metadata": None},
    "plain zlib": {"metadata": None, "compression": "zlib"},
    "plain strips": {"metadata": None, "rowsperstrip": 7},
    "shaped": {"metadata": {"axes": "ZYX"}},
    "shaped lzw": {"metadata": {"axes": "ZYX"}, "compression": "lzw"},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "imagej zlib": {"imagej": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "ome tiles": {
        "ome": True,
        "metadata": {"axes": "ZYX"},
        "compression": "zlib",
        "tile": (16, 16),
    },
    "big": {"bigtiff": True, "metadata": None, "compression": "zlib"},
}


def stored(folder, flavour, array=STACK):
    path = folder / "a.tif"
    tifffile.imwrite(path, array, photometric="minisblack", **FLAVOURS[flavour])
    return path


def refusal(path, read=read_volume, **options):
    """Return the line that says why a file is refused."""
    with pytest.raises(InputError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))
    return message


@pytest.mark.parametrize("read", [read_volume, read_labels])
def test_a_missing_file_a_folder_and_an_empty_file(tmp_path, read):
    (tmp_path / "empty.tif").touch()
    assert "no such file" in refusal(tmp_path / "no.tif", read)
    assert "is a folder" in refusal(tmp_path, read)
    assert "is empty" in refusal(tmp_path / "empty.tif", read)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    path = stored(tmp_path, "plain")
    monkeypatch.setattr(Path, "open", refuse)
    assert "may not be read" in refusal(path)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "damaged"),
        (b"\x89HDF\r\n" + bytes(40), "is a HDF5"),
        pytest.param(
            b"ZISRAWFILE" + bytes(40),
            "damaged",
            marks=pytest.mark.skipif(find_spec("czifile") is None, reason="extra formats"),
        ),
        (b"PK\x03\x04" + bytes(40), "ZIP"),
        (b"\x93NUMPY" + bytes(40), "damaged"),
        (b"nucleus,x,y,z\n1,2,3,4\n", "is of no known format; TIFF"),
        (b"x", "is of no known format"),
        (b"II, the second chapter of a text", "damaged"),
        (b"MM", "damaged"),
        (b"II*\x00", "damaged"),
        (b"II*\x00\x00\x00\x00\x00", "holds no image"),
        (b"II*\x00\xff\xff\xff\xff", "is cut short"),
        (b"II+\x00\x08\x00\x00\x00", "damaged"),
    ],
)
def test_what_is_no_tiff(tmp_path, start, says):
    path = tmp_path / "a.tif"
    path.write_bytes(start)
    assert says in refusal(path)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_file_cut_anywhere_is_refused_unless_every_pixel_is_there(tmp_path, flavour):
    path = stored(tmp_path, flavour)
    whole = path.read_bytes()
    refused = 0
    for length in (*range(1, 600, 37), *range(600, len(whole), 1009), len(whole) - 1):
        path.write_bytes(whole[:length])
        try:
            pixels = read_volume(path, workers=Workers(1)).pixels
        except InputError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 (either outcome is good)
            refused += 1
        else:
            np.testing.assert_array_equal(pixels, STACK)
    assert refused >= 20


@pytest.mark.parametrize("flavour", FLAVOURS)
@given(data=st.data())
@settings(
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_flipped_byte_gives_an_image_or_an_input_error_and_nothing_else(tmp_path, flavour, data):
    path = stored(tmp_path, flavour)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, 400) | st.integers(0, len(damaged) - 1))
        damaged[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FcpWarning)
        try:
            volume = read_volume(path, workers=Workers(1))
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 (either outcome is good)
        else:
            assert volume.pixels.ndim in {2, 3}


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "lzma", "packbits"])
def test_damaged_compressed_data_is_refused(tmp_path, compression):
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", "metadata": None, "compression": compression}
    tifffile.imwrite(path, STACK, rowsperstrip=31, **options)
    with tifffile.TiffFile(path) as tif:
        offset, length = tif.pages[2].dataoffsets[0], tif.pages[2].databytecounts[0]
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + length] = b"\x00" * length
    path.write_bytes(damaged)
    message = refusal(path)
    assert "plane 3 cannot be decoded" in message
    assert "export it again" in message


@pytest.mark.parametrize("flavour", ["plain", "plain zlib", "big"])
def test_a_plane_that_was_never_written_is_refused(tmp_path, flavour):
    path = stored(tmp_path, flavour)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for tag in ("StripOffsets", "StripByteCounts"):
            tif.pages[4].tags[tag].overwrite([0] * tif.pages[4].tags[tag].count)
    assert "plane 5 was never written" in refusal(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("edge", [10**6, 2**32 - 1])
def test_a_header_that_claims_a_huge_image_is_refused_before_memory_is_taken(
    tmp_path, compression, edge
):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0], compression=compression, metadata=None)
    _overwrite(path, ImageWidth=edge, ImageLength=edge, RowsPerStrip=edge)
    message = refusal(path)
    assert "cannot hold the" in message or "is cut short" in message


@pytest.mark.parametrize("compression", ["zstd", "lzma", "jpegxl", "jpeg2000", "lzw", "zlib"])
def test_empty_planes_are_an_image_however_small_the_file(tmp_path, compression):
    path = tmp_path / "a.tif"
    empty = np.zeros((4, 2048, 2048), np.uint16)
    options = {"photometric": "minisblack", "rowsperstrip": 2048, "compression": compression}
    tifffile.imwrite(path, empty, metadata={"axes": "ZYX"}, **options)
    assert compression != "zstd" or empty.nbytes > 5000 * path.stat().st_size
    assert not read_volume(path).pixels.any()


def test_empty_masks_of_one_bit_are_an_image(tmp_path):
    path = tmp_path / "a.tif"
    empty = np.zeros((8192, 8192), bool)
    tifffile.imwrite(path, empty, compression="lzw", rowsperstrip=8192, metadata=None)
    assert empty.nbytes > 5000 * path.stat().st_size
    assert not read_volume(path).pixels.any()


def test_a_claim_beyond_the_memory_is_refused_where_the_codec_sets_no_limit(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0], compression="zstd", metadata=None)
    _overwrite(path, ImageWidth=10**7, ImageLength=10**7, RowsPerStrip=10**7)
    assert "more than this machine's memory" in refusal(path)


def test_an_image_that_does_not_fit_in_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fcp_runtime.io.tiff.pages.EXPANSION", 2**80)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0], compression="zlib", metadata=None)
    _overwrite(path, ImageWidth=2**32 - 1, ImageLength=2**32 - 1, RowsPerStrip=2**32 - 1)
    assert "do not fit in memory" in refusal(path)


@pytest.mark.parametrize("flavour", ["imagej", "imagej zlib", "ome", "ome tiles", "shaped lzw"])
def test_metadata_that_promise_more_planes_than_there_are(tmp_path, flavour):
    path = stored(tmp_path, flavour, STACK[:5])
    text = path.read_bytes()
    for old, new in (
        (b"images=5", b"images=6"),
        (b"slices=5", b"slices=6"),
        (b'SizeZ="5"', b'SizeZ="6"'),
        (b"[5, 31", b"[6, 31"),
    ):
        text = text.replace(old, new)
    path.write_bytes(text)
    message = refusal(path)
    assert any(word in message for word in ("damaged", "missing", "cut short"))


def test_an_ome_header_that_cannot_be_parsed_does_not_turn_channels_into_planes(tmp_path):
    path = tmp_path / "a.ome.tif"
    hyper = np.stack([STACK, STACK], axis=1)
    tifffile.imwrite(path, hyper, photometric="minisblack", metadata={"axes": "ZCYX"})
    path.write_bytes(path.read_bytes().replace(b"<Pixels", b"<Pixe<s"))
    assert "damaged" in refusal(path)


def test_pages_that_differ_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for plane in (STACK[0], STACK[1].T.copy(), STACK[2]):
            tif.write(plane, metadata=None)
    assert "holds 2 images" in refusal(path)


def test_complex_pixels_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0].astype(np.complex64))
    assert "complex64" in refusal(path)


def test_nan_pixels_are_counted(tmp_path):
    for compression in (None, "zlib"):
        path = tmp_path / "a.tif"
        array = STACK.astype(np.float32)
        array[1, 2, 3:7] = np.nan
        tifffile.imwrite(path, array, photometric="minisblack", compression=compression)
        assert "4 of 8742 pixels are NaN" in refusal(path)


def test_what_tifffile_logs_stays_off_the_screen(tmp_path):
    path = stored(tmp_path, "plain zlib")
    path.write_bytes(path.read_bytes()[:9000])
    code = (
        "import sys; from fcp_runtime.io.tiff import read_volume\n"
        "try: read_volume(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("InputError", "")


def test_an_error_of_the_caller_is_not_taken_for_damage(tmp_path):
    def stop(*_step):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_volume(stored(tmp_path, "plain zlib"), progress=stop)


def _overwrite(path, **values):
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for name, value in values.items():
            tif.pages[0].tags[name].overwrite(value, dtype="I")
