"""The report's parts: pictures, charts, remarks, pages."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import imagecodecs
import numpy as np
import pytest
from report_cases import a_result, balls

from fcp_runtime.outputs.outlines import GAMMA
from fcp_runtime.outputs.report.charts import histogram, ticks
from fcp_runtime.outputs.report.findings import find_remarks
from fcp_runtime.outputs.report.index import PageFacts, read_facts, write_index
from fcp_runtime.outputs.report.page import write_report
from fcp_runtime.outputs.report.shapes import plane_shapes
from fcp_runtime.outputs.report.views import LONGEST, grey_window, make_views, spread
from fcp_runtime.settings import Settings


def decode(uri):
    content = re.fullmatch(r"data:image/jpeg;base64,(.*)", uri)[1]
    return imagecodecs.jpeg_decode(base64.b64decode(content, validate=True))


def views_of(pixels, masks, anisotropy):
    return make_views(pixels, masks, anisotropy, grey_window(pixels, masks))


def filled(shapes, grid):
    """Labels drawn from shapes: every pixel by the parity of the upright edges to its left."""
    labels = np.zeros(grid, int)
    for label in {shape[0] for shape in shapes}:
        inside = np.zeros(grid, bool)
        for of, x, y, text in shapes:
            if of != label:
                continue
            for number, step in enumerate(ord(character) - 80 for character in text):
                if number % 2 == 0:
                    x += step  # noqa: PLW2901 - a walk
                    continue
                inside[min(y, y + step) : max(y, y + step), x:] ^= True
                y += step  # noqa: PLW2901
        labels[inside] = label
    return labels


@pytest.fixture(scope="module")
def stack():
    masks = balls((12, 40, 50), [(5, 12, 12), (6, 25, 35)], 5)
    return a_result(masks, voxel_um=(2.0, 0.5, 0.5))


def test_planes_are_those_of_the_volume_rows_beside_rows():
    z, y, x = np.indices((6, 40, 64))
    pixels = (20 * z + y + 2 * x).astype(np.uint8)
    views, projection = views_of(pixels, np.zeros(pixels.shape, np.uint16), 2.0)
    assert [(view.axis, view.rows, view.columns) for view in views] == [
        ("z", "y", "x"),
        ("x", "y", "z"),
        ("y", "z", "x"),
    ]
    assert [view.shown for view in views] == [(40, 64), (40, 12), (12, 64)]
    low, high = np.percentile(pixels, (1, 99.9))

    def shown(plane):
        return 255 * np.clip((plane - low) / (high - low), 0, 1) ** GAMMA

    turned = (pixels, pixels.transpose(2, 1, 0), pixels.transpose(1, 0, 2))
    for view, planes in zip(views, turned, strict=True):
        assert view.length == len(planes)
        for index, position in enumerate(view.positions):
            difference = decode(view.grey[index]).astype(float) - shown(planes[position])
            assert np.abs(difference).mean() < 4
    assert np.abs(decode(projection.grey[0]) - shown(pixels.max(axis=0))).mean() < 4


def test_outlines_enclose_just_their_objects(stack):
    volume, result, _, _ = stack
    views, projection = views_of(volume.pixels, result.masks, 1.0)
    turned = (result.masks, result.masks.transpose(2, 1, 0), result.masks.transpose(1, 0, 2))
    for view, planes in zip(views, turned, strict=True):
        for shapes, position in zip(view.shapes, view.positions, strict=True):
            assert np.array_equal(filled(shapes, view.grid), planes[position])
    assert np.array_equal(filled(projection.shapes[0], projection.grid), result.masks.max(axis=0))


@pytest.mark.parametrize("seed", range(3))
def test_outlines_of_holes_pieces_and_long_edges_enclose_just_their_objects(seed):
    labels = np.kron(np.random.default_rng(seed).integers(0, 4, (7, 9)), np.ones((70, 33), int))
    assert np.array_equal(filled(plane_shapes(labels), labels.shape), labels)


def test_outlines_lie_right_on_thick_planes():
    masks = np.zeros((6, 40, 64), np.uint16)
    masks[2:4, 10:30, 20:40] = 1
    views, _ = views_of(masks * 100, masks, 5.0)
    across = views[2]  # rows z, columns x
    assert across.grid == (30, 64)
    assert np.argwhere(filled(across.shapes[across.start], across.grid)).min(axis=0).tolist() == [
        10,
        20,
    ]


def test_views_begin_where_most_is_to_be_seen():
    masks = np.zeros((20, 60, 80), np.uint16)
    masks[3, 40:50, 60:64] = 1
    masks[4, 40:50, 60:70] = 1
    views, _ = views_of(masks * 100, masks, 1.0)
    begin = [view.positions[view.start] for view in views]
    assert begin[0] == 4
    assert 60 <= begin[1] < 64
    assert 40 <= begin[2] < 50
    empty, _ = views_of(masks * 100, np.zeros_like(masks), 1.0)
    middles = [view.length // 2 for view in empty]
    gaps = [abs(view.positions[view.start] - at) for view, at in zip(empty, middles, strict=True)]
    assert max(gaps) <= 2


def test_nuclei_in_a_corner_of_the_dark_do_not_glare():
    masks = np.zeros((20, 120, 120), np.uint16)
    masks[10, 5:15, 5:15] = 1  # less than the thousandth part
    pixels = np.random.default_rng(0).integers(0, 100, masks.shape, np.uint16)
    pixels[masks > 0] = np.linspace(2000, 10000, 100)
    views, _ = views_of(pixels, masks, 1.0)
    grey = decode(views[0].grey[views[0].start])[masks[10] > 0]
    assert np.count_nonzero(grey > 250) < 10
    assert np.ptp(grey) > 100


@pytest.mark.parametrize("anisotropy", [1.0, 8.0])
def test_planes_across_y_and_x_do_not_get_fewer_where_planes_lie_far_apart(anisotropy):
    masks = np.zeros((76, 300, 300), np.uint16)
    views, _ = views_of(masks, masks, anisotropy)
    assert [len(view.positions) for view in views[1:]] == [24, 24]


def test_large_images_are_reduced_by_means():
    pixels = np.zeros((30, 2 * LONGEST - 1), np.uint8)
    pixels[:, ::2] = 100
    pixels[:15] = 0
    views, _ = views_of(pixels, np.zeros(pixels.shape, np.uint16), 1.0)
    grey = decode(views[0].grey[0])
    assert grey.shape == (15, LONGEST)
    middle = 255 * 0.5**GAMMA
    assert np.abs(grey[9:].astype(float).mean() - middle) < 3


@pytest.mark.parametrize(("length", "count"), [(1, 5), (10, 10), (10, 3), (1000, 24)])
def test_positions_are_spread_evenly(length, count):
    positions = spread(length, count)
    assert len(positions) == min(length, count)
    assert positions[0] + 1 >= length - positions[-1] - 1 >= 0
    gaps = np.diff(positions)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_bars_count_all_finite_values():
    values = np.array([1.0, 2, 2, 3, 3, 3, 8, np.nan, np.inf])
    chart = histogram(values, "size < 5", {"median": 3.0, "none": np.nan})
    counts = [int(count) for count in re.findall(r"to [-.\de+]+: (\d+)</title>", chart)]
    assert sum(counts) == 7
    assert counts[0] >= 1 <= counts[-1]
    assert "size &lt; 5" in chart
    assert "median 3<" in chart
    assert "none" not in chart


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1e9] * 4, [-3.0, -3.0]])
def test_values_all_alike_make_one_bar(values):
    chart = histogram(np.array(values), "size")
    counts = [int(count) for count in re.findall(r": (\d+)</title>", chart)]
    assert max(counts) == sum(counts) == len(values)


def test_without_objects_there_is_no_chart():
    assert "<svg" not in histogram(np.array([]), "size")


def test_ticks_are_round_numbers_within_the_range():
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(8123, 19345, 6) == [10000, 12000, 14000, 16000, 18000]
    assert ticks(0.63, 0.97, 6) == [0.7, 0.8, 0.9]
    assert ticks(3, 3, 6) == [3]


def remarks(masks, diameter=10.0, mode="3d", *, known=True):
    _, result, table, _ = a_result(masks, diameter=diameter)
    settings = Settings(mode=mode, diameter=result.diameter, anisotropy=1.0)
    return find_remarks(table, settings, stack=masks.ndim == 3, spacing_known=known)


def test_a_good_result_needs_no_remark():
    assert remarks(balls((30, 30, 30), [(8, 8, 8), (20, 20, 20)], 5)) == []


@pytest.mark.parametrize(
    ("masks", "options", "says"),
    [
        (balls((30, 30, 30), [(8, 8, 1), (20, 20, 20)], 5), {}, "1 of 2 objects touch the border"),
        (balls((30, 30, 30), [(8, 8, 8), (20, 20, 20)], 5), {"diameter": 30.0}, "are tiny"),
        (balls((30, 30, 30), [(8, 8, 8), (20, 20, 20)], 5), {"diameter": 16.0}, "far from"),
        (balls((30, 30, 30), [(8, 8, 8), (20, 20, 20)], 5), {"diameter": 6.0}, "far from"),
        (balls((30, 30), [(8, 8), (20, 20)], 5), {"diameter": 6.0}, "--diameter 10"),
        (np.zeros((9, 9, 9), np.uint16), {}, "No object"),
        (
            balls((30, 30, 30), [(8, 8, 8)], 5),
            {"mode": "stitch", "known": False},
            "Anisotropy unknown",
        ),
    ],
)
def test_what_is_conspicuous_is_said(masks, options, says):
    assert any(says in remark for remark in remarks(masks, **options))


class Addresses(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in {"src", "href", "srcset"}]

    def handle_data(self, data):
        self.text.append(data)


def read_page(path):
    parser = Addresses()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def test_a_page_says_what_came_out_and_needs_nothing_else(tmp_path, stack):
    volume, result, table, summary = stack
    path = tmp_path / "report.html"
    write_report(path, volume, result, table, summary=summary, notes=["dust on the lens"])
    content = read_page(path)
    assert content.found
    assert all(address.startswith("data:image/") for address in content.found)
    text = path.read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in text
    words = " ".join(content.text)
    for word in (
        "2 objects",
        "12 \N{MULTIPLICATION SIGN} 40 \N{MULTIPLICATION SIGN} 50",
        "2 \N{MULTIPLICATION SIGN} 0.5 \N{MULTIPLICATION SIGN} 0.5 µm",
        "(estimated)",
        "dust on the lens",
    ):
        assert word in words
    for name in summary["settings"]:
        assert name in words
    held = json.loads(re.search(r'id="views">(.*?)</script>', text, re.DOTALL).group(1))
    for view in held["views"]:
        assert len(view["grey"]) == len(view["shapes"]) == len(view["positions"])
    assert held["labels"] == table["label"].tolist()


def test_names_are_text_not_markup(tmp_path):
    masks = balls((30, 30), [(8, 8)], 5)
    volume, result, table, summary = a_result(masks, name="<img src=x>.tif")
    write_report(tmp_path / "r.html", volume, result, table, summary=summary)
    assert "x" not in read_page(tmp_path / "r.html").found
    row = {"input": "<img src=x>", "status": "done", "link": ""}
    write_index(tmp_path / "i.html", [row])
    assert read_page(tmp_path / "i.html").found == []


@pytest.mark.parametrize("shape", [(9, 9, 9), (20, 20)])
def test_an_empty_mask_has_a_report_too(tmp_path, shape):
    volume, result, table, summary = a_result(np.zeros(shape, np.uint16))
    write_report(tmp_path / "r.html", volume, result, table, summary=summary)
    assert "No object was found" in " ".join(read_page(tmp_path / "r.html").text)


@pytest.mark.parametrize(
    ("shape", "apart"), [((60, 256, 256), 1.0), ((12, 900, 1100), 1.0), ((76, 512, 512), 8.0)]
)
def test_a_stack_of_noise_stays_below_5_megabytes(tmp_path, shape, apart):
    masks = np.zeros(shape, np.uint16)
    for label, corner in enumerate(np.ndindex(2, shape[1] // 64, shape[2] // 64), start=1):
        z, y, x = np.array(corner) * (shape[0] // 2, 64, 64)
        masks[z : z + shape[0] // 2, y + 5 : y + 60, x + 5 : x + 60] = label
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    volume, result, table, summary = a_result(masks, pixels=pixels, voxel_um=(apart, 1.0, 1.0))
    path = tmp_path / "r.html"
    write_report(path, volume, result, table, summary=summary)
    assert path.stat().st_size < 5_000_000


def test_sizes_of_2000_objects_stay_below_5_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    grid = np.indices((60, 256, 256))
    masks = np.zeros((60, 256, 256), np.uint16)
    for label in range(1, 2001):
        centre = rng.integers(0, (60, 256, 256))
        low = np.maximum(centre - 7, 0)
        box = tuple(map(slice, low, centre + 8))
        near = sum((axis[box] - place) ** 2 for axis, place in zip(grid, centre, strict=True)) <= 49
        masks[box][near & (masks[box] == 0)] = label
    pixels = rng.integers(0, 255, masks.shape, np.uint8)
    volume, result, table, summary = a_result(masks, pixels=pixels)
    write_report(tmp_path / "r.html", volume, result, table, summary=summary)
    assert (tmp_path / "r.html").stat().st_size < 5_000_000


def test_a_report_names_no_folder_and_counts_what_is_to_be_checked(tmp_path):
    masks = balls((90, 90), [(20, 20), (20, 60), (60, 20), (60, 60)], 12)
    masks[60, 60] = 0
    masks[80:82, 80:82] = 5
    volume, result, table, summary = a_result(masks, name="/data/lab/a.tif")
    notes = ["/data/lab/a.tif: dust on the lens"]
    write_report(tmp_path / "r.html", volume, result, table, summary=summary, notes=notes)
    assert "/data/lab" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    words = " ".join(read_page(tmp_path / "r.html").text)
    assert "a.tif: dust on the lens" in words
    assert "1 to be checked" in words
    assert "tiny" in words
    assert read_facts(tmp_path / "r.html").checks == 2  # the tiny one, and a warning


def test_an_index_begins_with_what_failed_and_what_is_to_be_checked(tmp_path):
    rows = [
        {"input": f"/far/away/{name}.tif", "status": status, "link": f"{name}.html"}
        for name, status in (("good", "done"), ("odd", "done"), ("bad", "failed"))
    ]
    picture = "data:image/jpeg;base64,AAAA"
    facts = {"good.html": PageFacts(0, picture), "odd.html": PageFacts(7, picture)}
    write_index(tmp_path / "index.html", rows, facts)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.index("bad.tif") < text.index("odd.tif") < text.index("good.tif")
    assert "/far/away" not in text
    assert "3 inputs, 1 failed, 1 to be checked" in text
    assert text.count("<img") == 2
