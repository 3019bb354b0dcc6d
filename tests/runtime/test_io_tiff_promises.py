"""What a TIFF says of itself is compared with what is there, and means what its writer meant."""

from __future__ import annotations

import os
import struct
import time

import numpy as np
import pytest
import tifffile
from micromanager import write_stack

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.read import read_form, read_labels, read_volume

STACK = np.random.default_rng(5).integers(1, 60_000, (6, 20, 30)).astype(np.uint16)
HEAD = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '


def ome(images, uuid=""):
    return f'{HEAD} UUID="{uuid}">{"".join(images)}</OME>'


def ome_image(number, data, *, z=1, extra=""):
    return (
        f'<Image ID="Image:{number}" Name="Pos{number}"><Pixels ID="Pixels:{number}" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" SizeZ="{z}" SizeC="1" '
        f'SizeT="1" {extra}>{data}</Pixels></Image>'
    )


def planes_in(file, uuid, count=1):
    return (
        f'<TiffData IFD="0" PlaneCount="{count}"><UUID FileName="{file}">{uuid}</UUID></TiffData>'
    )


def write(path, pixels, description=None, **options):
    tifffile.imwrite(path, pixels, description=description, metadata=None, **options)
    return path


# Sets of OME files


@pytest.fixture
def ome_set(tmp_path):
    """Three files of one image each, whose XML describes all three."""
    names = [f"pos{at}.ome.tif" for at in range(3)]
    images = [ome_image(at, planes_in(names[at], f"urn:uuid:{at}")) for at in range(3)]
    for at, name in enumerate(names):
        write(tmp_path / name, STACK[at], ome(images, f"urn:uuid:{at}"))
    return [tmp_path / name for name in names]


@pytest.mark.parametrize("at", range(3))
def test_a_file_of_an_ome_set_gives_its_own_image(ome_set, at):
    np.testing.assert_array_equal(read_volume(ome_set[at]).pixels, STACK[at])


def test_a_file_of_an_ome_set_gives_its_own_image_where_the_others_are_missing(ome_set):
    ome_set[0].unlink()
    ome_set[2].unlink()
    np.testing.assert_array_equal(read_volume(ome_set[1]).pixels, STACK[1])


def test_series_chooses_an_image_of_another_file_of_the_set(ome_set):
    np.testing.assert_array_equal(read_volume(ome_set[0], series=2).pixels, STACK[2])
    with pytest.raises(InputError, match=r"there is no --series 3; .*0: Pos0, 1: Pos1, 2: Pos2"):
        read_volume(ome_set[0], series=3)


def test_a_renamed_file_is_known_by_its_uuid(ome_set):
    moved = ome_set[1].rename(ome_set[1].with_name("best one.ome.tif"))
    np.testing.assert_array_equal(read_volume(moved).pixels, STACK[1])


@pytest.mark.parametrize("name", ["../out.ome.tif", "/etc/passwd", "sub/x.tif", "..\\x.tif"])
def test_names_in_ome_lead_only_beside_the_file(tmp_path, name):
    write(tmp_path / "out.ome.tif", STACK[3])
    folder = tmp_path / "in"
    folder.mkdir()
    images = [ome_image(0, planes_in(name, "urn:uuid:9"))]
    path = write(folder / "a.ome.tif", STACK[0], ome(images, "urn:uuid:1"))
    with pytest.raises(InputError, match="outside its folder"):
        read_volume(path)
    with pytest.warns(FcpWarning, match="although"):
        np.testing.assert_array_equal(read_volume(path, axes="YX").pixels, STACK[0])


def test_a_pipe_is_refused_as_input_and_where_ome_names_it(tmp_path):
    pipe = tmp_path / "b.ome.tif"
    os.mkfifo(pipe)
    data = planes_in("a.ome.tif", "urn:uuid:1") + planes_in("b.ome.tif", "urn:uuid:2").replace(
        'IFD="0"', 'IFD="0" FirstZ="1"'
    )
    path = write(tmp_path / "a.ome.tif", STACK[0], ome([ome_image(0, data, z=2)], "urn:uuid:1"))
    for refused in (pipe, path):
        with pytest.raises(InputError, match="pipe or a device"):
            read_volume(refused)
    with pytest.raises(InputError, match="pipe or a device"):
        read_volume("/dev/zero")


def test_a_file_that_names_its_metadata_elsewhere_is_read_with_them_or_with_stated_axes(tmp_path):
    pointer = '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:1"/>'
    path = write(tmp_path / "a.tif", STACK, ome([pointer], "urn:uuid:1"))
    with pytest.raises(InputError, match=r"set\.companion\.ome, which is not beside it"):
        read_volume(path)
    with pytest.warns(FcpWarning, match="although"):
        np.testing.assert_array_equal(read_volume(path, axes="ZYX").pixels, STACK)
    images = [
        ome_image(0, planes_in("other.tif", "urn:uuid:0")),
        ome_image(1, planes_in("a.tif", "urn:uuid:1", 6), z=6, extra='PhysicalSizeX="0.5" '),
    ]
    (tmp_path / "set.companion.ome").write_text(ome(images))
    np.testing.assert_array_equal(read_volume(path).pixels, STACK)


@pytest.mark.parametrize("z", [7, 10**8, 10**9])
def test_more_planes_than_there_are_are_refused_at_once(tmp_path, z):
    path = write(tmp_path / "a.ome.tif", STACK, ome([ome_image(0, "<TiffData/>", z=z)]))
    began = time.perf_counter()
    with pytest.raises(InputError, match="planes are missing"):
        read_volume(path)
    assert time.perf_counter() - began < 2


# Micro-Manager


def test_positions_of_micromanager_are_images_not_planes(tmp_path):
    places = [(0, 0, 0, position) for position in range(6)]
    path = write_stack(tmp_path / "all.ome.tif", STACK, places, Positions=6)
    with pytest.raises(InputError, match="holds 6 images; choose one with --series 0 to 5"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, series=4).pixels, STACK[4])
    alone = write_stack(tmp_path / "exp_MMStack_Pos3.ome.tif", STACK[:1], places[3:4], Positions=6)
    np.testing.assert_array_equal(read_volume(alone).pixels, STACK[0])


def test_micromanager_states_spacing_and_the_order_of_planes_and_channels(tmp_path):
    places = [(channel, z, 0, 0) for z in (2, 1, 0) for channel in (1, 0)]
    names = ["DAPI", "GFP"]
    path = write_stack(tmp_path / "a.tif", STACK, places, Slices=3, Channels=2, ChNames=names)
    volume = read_volume(path, channel="gfp")
    np.testing.assert_array_equal(volume.pixels, STACK[[4, 2, 0]])
    assert volume.voxel_um == (1.5, 0.5, 0.5)


def test_a_micromanager_stack_without_all_its_planes_is_refused(tmp_path):
    places = [(0, z, 0, 0) for z in range(6)]
    path = write_stack(tmp_path / "a.tif", STACK, places, Slices=9)
    with pytest.raises(InputError, match="3 of its 9 planes are missing"):
        read_volume(path)


def test_a_micromanager_index_that_claims_a_hundred_million_planes_is_refused_at_once(tmp_path):
    places = [(0, 0, 0, 0), (0, 117_440_514, 0, 0)]
    path = write_stack(tmp_path / "a.tif", STACK[:2], places, Slices=2)
    began = time.process_time()
    with pytest.raises(InputError, match="impossible planes"):
        read_volume(path)
    assert time.process_time() - began < 2


def test_a_micromanager_stack_goes_on_in_further_files(tmp_path):
    places = [(0, z, 0, 0) for z in range(6)]
    path = write_stack(tmp_path / "a.ome.tif", STACK[:4], places[:4], Slices=6)
    write_stack(tmp_path / "a_1.ome.tif", STACK[4:], places[4:], Slices=6)
    np.testing.assert_array_equal(read_volume(path).pixels, STACK)


# Promises of other kinds


def scanimage(path, pixels, planes, **state):
    text = {
        "SI.hChannels.channelSave": "1",
        "SI.hStackManager.numSlices": planes,
        "SI.hStackManager.framesPerSlice": 1,
        "SI.hStackManager.stackZStepSize": 3,
        "SI.hRoiManager.imagingFovUm": "[0 0;15 0;15 10;0 10]",
    } | state
    lines = "\n".join(f"{key} = {value}" for key, value in text.items())
    tifffile.imwrite(
        path,
        pixels,
        metadata=None,
        software=lines,
        description="frameNumbers = 1\nacquisitionNumbers = 1",
        photometric="minisblack",
    )
    return path


def test_scanimage_states_planes_and_spacing(tmp_path):
    volume = read_volume(scanimage(tmp_path / "a.tif", STACK, 6))
    np.testing.assert_array_equal(volume.pixels, STACK)
    assert volume.voxel_um == (3, 0.5, 0.5)


def test_a_scanimage_stack_without_all_its_planes_is_refused_unless_axes_are_stated(tmp_path):
    path = scanimage(tmp_path / "a.tif", STACK, 8)
    with pytest.raises(InputError, match="promises 8 planes, 6 are there"):
        read_volume(path)
    with pytest.warns(FcpWarning, match="although"):
        assert read_volume(path, axes="ZYX").pixels.shape == STACK.shape


def cut_chain(path, pages):
    """End the chain of directories after some pages, as a writer that stopped would."""
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[pages - 1].offset
        count = len(tif.pages[pages - 1].tags)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, offset + 2 + 12 * count, 0)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"axes": "ZYX"}, "compression": "zlib"},
        {"metadata": {"axes": "ZYX"}, "imagej": True, "compression": "zlib"},
        {"metadata": {"axes": "ZYX"}, "ome": True, "compression": "zlib"},
        {"metadata": {"axes": "ZYX"}, "ome": True},
    ],
    ids=["shaped", "imagej", "ome", "ome uncompressed"],
)
def test_fewer_pages_than_the_description_promises_are_refused(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", **options)
    cut_chain(path, 1)
    with pytest.raises(InputError, match=r"planes|header|damaged or cut short"):
        read_volume(path)


def test_an_lsm_file_states_planes_channels_and_voxels(tmp_path):
    path = write_lsm(tmp_path / "a.lsm", STACK.reshape(2, 3, 20, 30))
    volume = read_volume(path, channel=1)
    np.testing.assert_array_equal(volume.pixels, STACK[1::3])
    assert volume.voxel_um == pytest.approx((1.5, 0.25, 0.25))
    with pytest.raises(InputError, match="3 of its 5 planes are missing"):
        read_volume(write_lsm(tmp_path / "b.lsm", STACK.reshape(2, 3, 20, 30), planes=5), channel=1)


def write_lsm(path, pixels, planes=None):
    """Write (Z, C, Y, X) with Zeiss's tag; as in its files, a small page follows each plane."""
    depth, channels, height, width = pixels.shape
    info = np.zeros((), tifffile.TIFF.CZ_LSMINFO)
    info["MagicNumber"], info["StructureSize"] = 67127628, info.nbytes
    info["DimensionX"], info["DimensionY"], info["DimensionZ"] = width, height, planes or depth
    info["DimensionChannels"], info["DimensionTime"] = channels, 1
    info["VoxelSizeX"] = info["VoxelSizeY"] = 0.25e-6
    info["VoxelSizeZ"] = 1.5e-6
    info["ScanType"] = 0
    tag = (34412, "B", info.nbytes, info.tobytes(), True)
    with tifffile.TiffWriter(path, byteorder="<") as tif:
        for number, plane in enumerate(pixels):
            tif.write(
                plane,
                photometric="minisblack",
                planarconfig="separate",
                metadata=None,
                extratags=[tag] if number == 0 else [],
            )
            tif.write(
                plane[:, ::10, ::10],
                photometric="minisblack",
                planarconfig="separate",
                subfiletype=1,
                metadata=None,
            )
    return path


def write_stk(path, pixels, planes=None):
    """Write a MetaMorph stack: one directory, planes behind each other, tags UIC1 to UIC3."""
    count = planes or len(pixels)
    page = pixels[0]
    uic2 = b"".join(struct.pack("<6I", 2, 1, 2459000, 1000 * at, 0, 0) for at in range(count))
    calibration = struct.pack("<IIII", 4, 0, 5, 0)
    fractions = struct.pack("<4I", 1, 4, 1, 4)
    start = 8 + pixels.nbytes
    blobs = [uic2, fractions, b"um\0"]
    at_uic2, at_fractions = start, start + len(uic2)
    at_unit = at_fractions + len(fractions)
    unit = struct.pack("<I", 3) + b"um\0\0"
    at_uic1 = at_unit + len(unit)
    uic1 = struct.pack("<8I", 4, at_fractions, 5, at_fractions + 8, 6, at_unit, 15, 0)
    del calibration, blobs
    ifd = at_uic1 + len(uic1)
    tags = [
        (256, 4, 1, page.shape[1]), (257, 4, 1, page.shape[0]), (258, 4, 1, 16), (259, 4, 1, 1),
        (262, 4, 1, 1), (273, 4, 1, 8), (277, 4, 1, 1), (278, 4, 1, page.shape[0]),
        (279, 4, 1, page.nbytes), (33628, 4, 4, at_uic1), (33629, 5, count, at_uic2),
    ]  # fmt: skip
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    data = b"II*\0" + struct.pack("<I", ifd) + pixels.tobytes() + uic2 + fractions + unit + uic1
    path.write_bytes(data + body + bytes(4))
    return path


def test_a_metamorph_stack_states_planes_and_spacing(tmp_path):
    volume = read_volume(write_stk(tmp_path / "a.stk", STACK))
    np.testing.assert_array_equal(volume.pixels, STACK)
    assert volume.voxel_um == (2, 0.25, 0.25)


def test_a_metamorph_stack_that_ends_early_is_refused(tmp_path):
    with pytest.raises(InputError, match="cut short"):
        read_volume(write_stk(tmp_path / "a.stk", STACK, planes=60))


# Strips and tiles


@pytest.mark.parametrize("tag", [273, 279], ids=["offset", "count"])
@pytest.mark.parametrize("kind", [{"ome": True}, {"imagej": True}, {}], ids=["ome", "ij", "shaped"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_strip_that_was_never_written_is_refused_unless_sparse(tmp_path, kind, compression, tag):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, STACK[0], rowsperstrip=5, compression=compression, photometric="minisblack", **kind
    )
    with tifffile.TiffFile(path) as tif:
        at, size = tif.pages[0].tags[tag].valueoffset, tif.pages[0].tags[tag].dtype
    data = bytearray(path.read_bytes())
    width = {3: 2, 4: 4}[int(size)]
    data[at + width : at + 2 * width] = bytes(width)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"never written; .*--sparse"):
        read_volume(path)
    expected = STACK[0].copy()
    expected[5:10] = 0
    np.testing.assert_array_equal(read_volume(path, allow_sparse=True).pixels, expected)


# Chains of directories


def test_pages_of_thousands_of_sizes_are_refused_at_once(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for width in range(1, 400):
            tif.write(np.zeros((2, width), np.uint8), metadata=None)
    with pytest.raises(InputError, match="more than 200 sizes"):
        read_volume(path)


def test_a_chain_that_leads_back_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", STACK)
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0].offset, tif.pages[5]
        end = last.offset + 2 + 12 * len(last.tags)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, end, first)
    path.write_bytes(data)
    with pytest.raises(InputError, match="leads back to page 1"):
        read_form(path)


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 273, 277, 278, 279])
@pytest.mark.parametrize("kind", [5, 11, 12, 2])
def test_a_tag_that_places_pixels_must_hold_whole_numbers(tmp_path, tag, kind):
    path = write(tmp_path / "a.tif", STACK[0])
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[0].tags[tag].offset
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, at + 2, kind)
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_volume(path)


# What a viewer shows


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_inverted_but_for_labels(tmp_path, dtype):
    pixels = STACK[0].astype(dtype)
    path = write(tmp_path / "a.tif", pixels, photometric="miniswhite")
    np.testing.assert_array_equal(read_volume(path).pixels, np.iinfo(dtype).max - pixels)
    np.testing.assert_array_equal(read_labels(path), pixels)


def test_a_palette_of_greys_is_applied_and_one_of_colours_warned_of(tmp_path):
    pixels = STACK[0].astype(np.uint8)
    greys = np.random.default_rng(0).permutation(256).astype(np.uint16)
    path = write(
        tmp_path / "a.tif", pixels, photometric="palette", colormap=np.stack([greys * 257] * 3)
    )
    np.testing.assert_array_equal(read_volume(path).pixels, greys[pixels])
    np.testing.assert_array_equal(read_labels(path), pixels)
    fire = np.stack([greys, greys[::-1], greys // 2]) * np.uint16(257)
    path = write(tmp_path / "b.tif", pixels, photometric="palette", colormap=fire)
    with pytest.warns(FcpWarning, match="palette of colours"):
        np.testing.assert_array_equal(read_volume(path).pixels, pixels)
    blue = np.stack([np.zeros(256), np.zeros(256), np.arange(256) * 257]).astype(np.uint16)
    path = write(tmp_path / "c.tif", pixels, photometric="palette", colormap=blue)
    np.testing.assert_array_equal(read_volume(path).pixels, pixels)
