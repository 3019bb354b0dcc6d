"""Which axes and which channel: decided by metadata, else by the user, else refused."""

from __future__ import annotations

import pytest

from fcp_runtime.errors import InputError, SettingsError
from fcp_runtime.io.axes import lay_out


def laid(stored, shape, **options):
    return lay_out(stored, shape, name="f.tif", **options)


@pytest.mark.parametrize(
    ("stored", "shape", "kept", "wanted"),
    [
        ("YX", (7, 9), "YX", (7, 9)),
        ("ZYX", (5, 7, 9), "ZYX", (5, 7, 9)),
        ("TZCYXS", (1, 5, 1, 7, 9, 1), "ZYX", (5, 7, 9)),
        ("TZCYXS", (1, 1, 1, 7, 9, 1), "YX", (7, 9)),
        ("TZCYXS", (1, 1, 1, 1, 1, 1), "YX", (1, 1)),
        ("YXZ", (7, 9, 5), "YXZ", (5, 7, 9)),
        ("QYX", (5, 7, 9), "ZYX", (5, 7, 9)),  # more than four pages without metadata
        ("IYXS", (200, 7, 9, 1), "ZYX", (200, 7, 9)),
    ],
)
def test_axes_come_from_the_metadata_and_unnamed_pages_are_planes(stored, shape, kept, wanted):
    layout = laid(stored, shape)
    assert (layout.kept, layout.wanted_shape, layout.channel_axis) == (kept, wanted, None)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_few_unnamed_pages_may_be_channels_so_the_user_must_say(size):
    with pytest.raises(InputError, match=rf"{size} pages.*--axes ZYX.*--channel 0 to {size - 1}"):
        laid("QYX", (size, 7, 9))
    assert laid("QYX", (size, 7, 9), axes="ZYX").wanted_shape == (size, 7, 9)
    assert laid("QYX", (size, 7, 9), labels=True).wanted_shape == (size, 7, 9)
    layout = laid("QYX", (size, 7, 9), channel=1)
    assert (layout.wanted_shape, layout.channel_axis, layout.channel) == ((7, 9), 0, 1)


@pytest.mark.parametrize(
    ("stored", "shape", "example"),
    [
        ("QQYX", (3, 5, 7, 9), "CZYX"),
        ("IZYX", (3, 5, 7, 9), "CZYX"),
        ("QQQYX", (2, 3, 5, 7, 9), "TCZYX"),
        ("QX", (5, 9), "YX"),
    ],
)
def test_axes_that_cannot_be_guessed_are_asked_for(stored, shape, example):
    with pytest.raises(InputError, match=rf"^f\.tif: .*--axes {example}$"):
        laid(stored, shape)


def test_stated_axes_overrule_the_metadata():
    layout = laid("ZYX", (2, 7, 9), axes="cyx", channel=1)
    assert (layout.axes, layout.channel, layout.wanted_shape) == ("CYX", 1, (7, 9))


def test_stated_axes_may_name_the_axes_of_length_1_or_leave_them_out():
    shape = (1, 5, 1, 7, 9, 1)
    assert laid("QQQYXQ", shape, axes="TZCYXS").wanted_shape == (5, 7, 9)
    assert laid("QQQYXQ", shape, axes="ZYX").wanted_shape == (5, 7, 9)


@pytest.mark.parametrize("axes", ["", "Z", "ZY", "ZZYX", "ABYX", "ZYX,"])
def test_stated_axes_must_be_axes(axes):
    with pytest.raises(SettingsError, match="for example ZYX"):
        laid("QYX", (5, 7, 9), axes=axes)


@pytest.mark.parametrize("axes", ["YX", "CZYX", "TCZYX"])
def test_stated_axes_must_fit_the_file(axes):
    with pytest.raises(InputError, match=rf"--axes {axes} does not fit its 3 axes of 5 x 7 x 9"):
        laid("QYX", (5, 7, 9), axes=axes)


def test_stated_axes_cannot_move_pixels_between_pages():
    with pytest.raises(InputError, match="does not fit"):
        laid("TZCYXS", (1, 5, 1, 7, 9, 1), axes="TZCSYX")


@pytest.mark.parametrize("stored", ["CYX", "CZYX", "ZCYX", "YXS"])
def test_a_channel_must_be_chosen_and_exist(stored):
    shape = tuple({"C": 2, "S": 2, "Z": 5, "Y": 7, "X": 9}[axis] for axis in stored)
    for bad in (None, 2, -1):
        with pytest.raises(InputError, match=r"has 2 channels; .*--channel 0 to 1 \(0 is the"):
            laid(stored, shape, channel=bad)
    layout = laid(stored, shape, channel=1)
    assert stored[layout.channel_axis] in "CS"
    assert layout.channel == 1
    assert "C" not in layout.kept
    assert "S" not in layout.kept


def test_a_file_of_one_channel_has_channel_0():
    assert laid("ZYX", (5, 7, 9), channel=0).wanted_shape == (5, 7, 9)
    with pytest.raises(InputError, match="number 0, its axes being ZYX; there is no --channel 1"):
        laid("ZYX", (5, 7, 9), channel=1)


@pytest.mark.parametrize("samples", [3, 4])
def test_a_colour_image_without_a_chosen_colour_must_turn_out_grey(samples):
    assert laid("YXS", (7, 9, samples)).grey_only
    assert not laid("YXS", (7, 9, samples), channel=0).grey_only


def test_channels_of_colours_are_refused():
    with pytest.raises(InputError, match="channels and colours"):
        laid("CYXS", (2, 7, 9, 3), channel=0)


def test_time_points_are_refused_with_the_way_out():
    with pytest.raises(
        InputError, match=r"4 time points; .*open_film.* or say --axes ZYX for planes"
    ):
        laid("TYX", (4, 7, 9))
    with pytest.raises(
        InputError, match=r"4 time points; read one at a time with .*open_film, as fcp-run does$"
    ):
        laid("TZYX", (4, 5, 7, 9))
    assert laid("TYX", (4, 7, 9), axes="ZYX").wanted_shape == (4, 7, 9)
