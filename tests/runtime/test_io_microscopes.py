"""Files of microscopes' programs: LIF and OIF as their formats say, ND2 and CZI by stand-ins.

No small file of NIS-Elements or ZEN comes with a package, and no writer of them exists: for these
two the libraries' objects are imitated, with the attributes that the libraries document.
"""

from __future__ import annotations

import struct
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import tifffile

from fcp_runtime.errors import InputError
from fcp_runtime.io.film import open_film
from fcp_runtime.io.read import read_volume

STACK = np.random.default_rng(4).integers(0, 4000, (3, 2, 12, 20)).astype(np.uint16)


def lif(path, images):
    """Write a LIF of images (Z, C, Y, X) by name: XML in UTF-16, then a block of memory each."""
    elements, blocks = "", b""
    for number, (name, pixels) in enumerate(images.items()):
        z, c, y, x = pixels.shape
        dims = [(1, x, 2, 0.25e-6), (2, y, 2 * x, 0.25e-6), (3, z, 2 * x * y * c, 1.5e-6)]
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" '
            f'NameOfMeasuredQuantity="" Min="0" Max="65535" Unit="" LUTName="{lut}" '
            f'IsLUTInverted="0" BytesInc="{2 * x * y * at}" BitInc="0"/>'
            for at, lut in enumerate(("Blue", "Green")[:c])
        )
        dimensions = "".join(
            f'<DimensionDescription DimID="{code}" NumberOfElements="{count}" Origin="0" '
            f'Length="{step * (count - 1)}" Unit="m" BytesInc="{stride}" BitInc="0"/>'
            for code, count, stride, step in dims
        )
        elements += (
            f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
            f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
            f'<Memory Size="{pixels.nbytes}" MemoryBlockID="Mem{number}"/></Element>'
        )
        label = f"Mem{number}".encode("utf-16-le")
        head = struct.pack("<BQBI", 0x2A, pixels.nbytes, 0x2A, len(label) // 2) + label
        blocks += struct.pack("<II", 0x70, len(head)) + head + pixels.astype("<u2").tobytes()
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="all"><Children>'
        f"{elements}</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    head = struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2)
    path.write_bytes(head + xml + blocks)
    return path


def test_series_of_a_lif_are_chosen_by_number_and_the_error_lists_them(tmp_path):
    pytest.importorskip("liffile")
    path = lif(tmp_path / "a.lif", {"Embryo 1": STACK, "Embryo 2": STACK[::-1] + 1})
    with pytest.raises(InputError, match=r"holds 2 images; .*0: .*Embryo 1.*1: .*Embryo 2"):
        read_volume(path, channel=0)
    volume = read_volume(path, channel=1, series=1)
    np.testing.assert_array_equal(volume.pixels, STACK[::-1, 1] + 1)
    assert volume.voxel_um == pytest.approx((1.5, 0.25, 0.25))


def test_a_lif_cut_short_is_refused(tmp_path):
    pytest.importorskip("liffile")
    path = lif(tmp_path / "a.lif", {"Embryo 1": STACK})
    whole = path.read_bytes()
    for length in (20, 300, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_volume(path, channel=0)


def oif(path, pixels):
    """Write an OIF: settings in UTF-16 and a folder of TIFFs, a plane and channel each."""
    z, c, y, x = pixels.shape
    sizes = {"X": x, "Y": y, "C": c, "Z": z, "T": 1}
    lines = [
        "[ProfileSaveInfo]",
        'Name="a"',
        'Version="2.0"',
        "[Axis Parameter Common]",
        'AxisOrder="XYCZ"',
    ]
    ends = {"X": (0.25 * x, "um"), "Y": (0.25 * y, "um"), "Z": (1500.0 * (z - 1), "nm")}
    for number, code in enumerate("XYCZTLPQ"):
        end, unit = ends.get(code, (0, ""))
        lines += [
            f"[Axis {number} Parameters Common]",
            f'AxisCode="{code}"',
            f"MaxSize={sizes.get(code, 0)}",
            "StartPosition=0",
            f"EndPosition={end}",
            f'PixUnit="{unit}"',
        ]
    lines += ["[Reference Image Parameter]", "ValidBitCounts=12"]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))
    folder = path.with_name(f"{path.name}.files")
    folder.mkdir()
    for at_z in range(z):
        for at_c in range(c):
            file = folder / f"s_C{at_c + 1:03}Z{at_z + 1:03}.tif"
            tifffile.imwrite(file, pixels[at_z, at_c], metadata=None)
    return path


def test_an_oif_gives_channels_in_the_order_of_its_files_and_its_spacing(tmp_path):
    pytest.importorskip("oiffile")
    path = oif(tmp_path / "a.oif", STACK)
    volume = read_volume(path, channel=1)
    np.testing.assert_array_equal(volume.pixels, STACK[:, 1])
    assert volume.voxel_um == pytest.approx((1.5, 0.25, 0.25))


def stand_in(monkeypatch, module, **attributes):
    made = ModuleType(module)
    made.__dict__.update(attributes, __spec__=SimpleNamespace(name=module))
    monkeypatch.setitem(sys.modules, module, made)


class Opened(SimpleNamespace):
    """What a library returns for a path."""

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        return None


def test_positions_of_an_nd2_are_images_and_its_frames_a_film(tmp_path, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 999, (2, 3, 2, 12, 20)).astype(np.uint16)
    file = Opened(
        sizes={"T": 2, "P": 3, "C": 2, "Y": 12, "X": 20},
        dtype=np.dtype(np.uint16),
        read_frame=lambda at: frames.reshape(6, 2, 12, 20)[at],
        voxel_size=lambda: SimpleNamespace(x=0.5, y=0.5, z=1.0),
        experiment=[SimpleNamespace(parameters=SimpleNamespace(periodMs=2500.0))],
        metadata=SimpleNamespace(
            channels=[
                SimpleNamespace(channel=SimpleNamespace(name=name)) for name in ("DAPI", "GFP")
            ]
        ),
    )
    stand_in(monkeypatch, "nd2", ND2File=lambda _path: file)
    path = tmp_path / "a.nd2"
    path.write_bytes(b"\xda\xce\xbe\x0a" + bytes(20))
    with pytest.raises(InputError, match="holds 3 images"):
        read_volume(path)
    with open_film(path, channel="gfp", series=1) as film:
        assert (film.frames, film.interval_s) == (2, 2.5)
        np.testing.assert_array_equal(film.frame(1).pixels, frames[1, 1, 1])
        assert film.frame(1).voxel_um == (0.5, 0.5, 0.5)


CZI = """<ImageDocument><Metadata><Information><Image><Dimensions><Channels>
<Channel Id="0" Name="DAPI"/><Channel Id="1" Name="EGFP"/></Channels></Dimensions></Image>
</Information><Scaling><Items><Distance Id="X"><Value>2.5E-07</Value></Distance>
<Distance Id="Y"><Value>2.5E-07</Value></Distance><Distance Id="Z"><Value>1.5E-06</Value></Distance>
</Items></Scaling></Metadata></ImageDocument>"""


def test_scenes_of_a_czi_are_images_and_its_channels_have_names(tmp_path, monkeypatch):
    pixels = np.stack([STACK, STACK + 7]).transpose(0, 2, 1, 3, 4)[None, ..., None]  # BSCZYX0
    file = Opened(
        axes="BSCZYX0",
        shape=pixels.shape,
        dtype=pixels.dtype,
        asarray=lambda: pixels,
        metadata=lambda: CZI,
    )
    stand_in(monkeypatch, "czifile", CziFile=lambda _path: file)
    path = tmp_path / "a.czi"
    path.write_bytes(b"ZISRAWFILE" + bytes(200))
    with pytest.raises(InputError, match="0: scene 0, 1: scene 1"):
        read_volume(path, channel="EGFP")
    volume = read_volume(path, channel="EGFP", series=1)
    np.testing.assert_array_equal(volume.pixels, STACK[:, 1] + 7)
    assert volume.voxel_um == pytest.approx((1.5, 0.25, 0.25))
    with pytest.raises(InputError, match=r"no channel is named 'RFP'; .*0 'DAPI', 1 'EGFP'"):
        read_volume(path, channel="RFP", series=1)


@pytest.mark.parametrize(
    ("library", "start", "suffix"),
    [
        ("nd2", b"\xda\xce\xbe\x0a", ".nd2"),
        ("czifile", b"ZISRAWFILE", ".czi"),
        ("liffile", b"\x70\0\0\0", ".lif"),
        ("oiffile", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".oib"),
        ("oiffile", b"\xff\xfe[\0", ".oif"),
    ],
)
def test_damage_is_an_input_error_whatever_the_library_raises(tmp_path, library, start, suffix):
    pytest.importorskip(library)
    for size in (0, 30, 4000):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(start + np.random.default_rng(size).bytes(size))
        with pytest.raises(InputError):
            read_volume(path)
