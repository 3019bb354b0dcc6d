"""``fcp-eval`` from manifest or files to numbers, with a segmenter that thresholds."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import imagecodecs
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from scipy import ndimage

from fcp_runtime.cli.evaluate import file_names, main
from fcp_runtime.errors import InputError
from fcp_runtime.evaluate.centres import Columns, read_centres
from fcp_runtime.evaluate.manifest import OPTIONAL, REQUIRED
from fcp_runtime.evaluate.metrics import match
from fcp_runtime.evaluate.overlay import INVENTED, MISSED, TRUE, render_overlay
from fcp_runtime.io.tiff import read_labels
from fcp_runtime.settings import Settings


class Thresholder:
    """Takes what is brighter than 100 for objects; remembers how it was called."""

    calls: ClassVar = []

    def __init__(self, model, threads):
        self.model = model

    def segment(self, volume, *, diameter, anisotropy):
        self.calls.append((volume.name, diameter, anisotropy))
        masks = ndimage.label(volume.pixels > 100)[0].astype(np.uint16)
        settings = Settings(
            model=self.model,
            diameter=22.0 if diameter is None else diameter,
            anisotropy=anisotropy or 1.0,
        )
        return SimpleNamespace(masks=masks, timings={"network": 0.25}, settings=settings)


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "fcp_runtime.segmenter", SimpleNamespace(Segmenter=Thresholder)
    )
    monkeypatch.setattr(Thresholder, "calls", [])
    return Thresholder.calls


def run(*arguments):
    try:
        runner = CliRunner(mix_stderr=False)
    except TypeError:  # click 8.2 always keeps them apart
        runner = CliRunner()
    return runner.invoke(main, [str(argument) for argument in arguments])


def squares(corners, shape=(40, 40), edge=8):
    """Labels 1..n: squares, or cubes, at the given corners."""
    labels = np.zeros(shape, np.uint16)
    for label, corner in enumerate(corners, start=1):
        labels[tuple(slice(c, c + edge) for c in corner)] = label
    return labels


class Folder:
    """Images with truth, and the manifest that lists them."""

    def __init__(self, path):
        self.path = path
        self.rows = []

    def add(self, source, seen, truth, **row):
        """Add an image in which ``seen`` is bright."""
        name = f"{source}_{len(self.rows)}"
        self.write(f"{name}.tif", (np.asarray(seen) > 0).astype(np.uint8) * 200)
        if truth is not None:
            self.write(f"{name}_label.tif", truth)
        defaults = {
            "split": "dev",
            "source": source,
            "image": f"{name}.tif",
            "label": "" if truth is None else f"{name}_label.tif",
            "ndim": np.ndim(seen),
            "diameter_px": 20,
        }
        self.rows.append(defaults | row)

    def write(self, name, pixels):
        tifffile.imwrite(self.path / name, pixels, metadata={"axes": "ZYX"[-pixels.ndim :]})

    @property
    def manifest(self):
        path = self.path / "manifest.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, (*REQUIRED, *OPTIONAL))
            writer.writeheader()
            writer.writerows(self.rows)
        return path


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    return Folder(data)


@pytest.fixture
def two_images(folder):
    """Source a: 2 of 2 found, and 1 of 3 with one invented."""
    first = squares([(2, 2), (20, 20)])
    folder.add("a", first, first, diameter_px=24)
    folder.add("a", squares([(2, 2), (30, 30)]), squares([(2, 2), (2, 20), (20, 2)]))
    return folder


def evaluate(folder, *options):
    result = run("--manifest", folder.manifest, "--split", "dev", "--json", *options)
    return result, json.loads(result.stdout)


def test_scores_are_pooled_and_averaged_over_images(two_images, calls):
    result, summary = evaluate(two_images, "--diameter", "gt")
    assert result.exit_code == 0, result.stderr
    group = summary["sources"]["a"]
    assert (group["images"], group["true_objects"], group["found_objects"]) == (2, 5, 4)
    assert group["pooled"]["precision"] == 3 / 4
    assert group["pooled"]["recall"] == 3 / 5
    assert group["pooled"]["f1"] == pytest.approx(6 / 9)
    assert group["pooled"]["ap50"] == group["pooled"]["ap_mean"] == pytest.approx(3 / 6)
    assert group["over_images"]["recall"]["mean"] == pytest.approx((1 + 1 / 3) / 2)
    assert group["over_images"]["recall"]["sd"] == pytest.approx(np.std([1, 1 / 3], ddof=1))
    assert group["lenient"]["f1"] == pytest.approx(6 / 9)
    assert group["network_seconds"] == 0.5
    assert summary["all"] == group
    assert [row["true_objects"] for row in summary["rows"]] == [2, 3]
    assert summary["rows"][0]["settings"]["model"] == "v3"


@pytest.mark.parametrize(
    ("option", "used"), [("gt", [24, 20]), ("auto", [None, None]), ("17.5", [17.5, 17.5])]
)
def test_the_diameter_is_true_estimated_or_given(two_images, calls, option, used):
    _, summary = evaluate(two_images, "--diameter", option)
    assert [diameter for _, diameter, _ in calls] == used
    judged = summary["all"]["diameter_within_25_percent"]
    assert judged == ({"right": 2, "of": 2} if option == "auto" else None)


def test_an_estimated_diameter_is_judged_against_the_true_median(two_images, calls):
    two_images.rows[1]["diameter_px"] = 15  # 22 is estimated
    _, summary = evaluate(two_images)
    assert summary["all"]["diameter_within_25_percent"] == {"right": 1, "of": 2}
    assert [row["diameter_is_right"] for row in summary["rows"]] == [True, False]
    table = run("--manifest", two_images.manifest, "--split", "dev").stdout
    assert table.splitlines()[0].endswith("diameter_ok")
    assert table.splitlines()[1].endswith("1/2")


def test_anisotropy_comes_from_the_manifest_or_is_assumed_and_marked(folder, calls):
    cubes = squares([(2, 2, 2)], (12, 20, 20))
    folder.add("stated", cubes, cubes, voxel_um_zyx="2.0x0.8x0.8")
    folder.add("other", cubes, cubes, voxel_um_zyx="not stated", assumed_anisotropy=5)
    _, summary = evaluate(folder)
    assert [anisotropy for _, _, anisotropy in calls] == [2.5, 5.0]
    assert [row["settings"]["anisotropy"] for row in summary["rows"]] == [2.5, 5.0]
    assert [row["anisotropy_assumed"] for row in summary["rows"]] == [False, True]
    table = run("--manifest", folder.manifest, "--split", "dev").stdout
    assert " 5*" in table
    assert "assumed" in table


@pytest.mark.parametrize("told_by", ["manifest", "table of sources"])
def test_a_source_with_fragments_is_reported_with_and_without_them(folder, calls, told_by):
    truth = squares([(2, 2, 2), (2, 20, 20)], (12, 32, 32))
    truth[10:12, 2:4, 20:22] = 3  # a fragment, found
    truth[10:12, 2:4, 26:28] = 4  # a fragment, missed
    stated = {"fragment_voxels": 200} if told_by == "manifest" else {}
    folder.add("bbbc050", truth * (truth < 4), truth, voxel_um_zyx="1x1x1", **stated)
    table = folder.path / "sources.csv"
    table.write_text("source,fragment_voxels\nbbbc050,200\n")
    _, summary = evaluate(folder, *([] if stated else ["--sources", table]))
    whole = summary["sources"]["bbbc050"]
    large = summary["sources"]["bbbc050 >= 200 voxels"]
    assert (whole["true_objects"], whole["found_objects"]) == (4, 3)
    assert (large["true_objects"], large["found_objects"]) == (2, 2)
    assert whole["pooled"]["recall"] == 3 / 4
    assert large["pooled"]["f1"] == 1
    assert summary["all"] == whole


def test_incomplete_truth_gives_recall_only_and_no_part_in_the_rest(folder, calls):
    cubes = squares([(2, 2, 2), (2, 20, 2)], (12, 32, 32))
    folder.add("x", cubes, cubes, voxel_um_zyx="1x1x1")
    folder.add("x", cubes, np.minimum(cubes, 1), voxel_um_zyx="1x1x1", note="recall only")
    _, summary = evaluate(folder)
    assert set(summary["sources"]) == {"x", "x (recall only)"}
    assert summary["sources"]["x"]["images"] == summary["all"]["images"] == 1
    assert summary["all"]["pooled"]["f1"] == 1
    partly = summary["sources"]["x (recall only)"]
    assert set(partly["pooled"]) == set(partly["lenient"]) == {"recall"}
    table = run("--manifest", folder.manifest, "--split", "dev").stdout
    line = next(line for line in table.splitlines() if "recall only" in line)
    assert line.split()[3:9] == ["1", "1", "2", "-", "1.000", "-"]


def test_rows_without_truth_are_skipped_with_a_note(two_images, calls):
    two_images.add("b", squares([(2, 2)]), None)
    result, summary = evaluate(two_images)
    assert result.exit_code == 0
    assert len(calls) == 2
    assert [entry["reason"] for entry in summary["skipped"]] == ["no label file"]
    assert "1 images without label file skipped" in result.stderr


def test_a_bad_row_does_not_stop_the_others(two_images, calls):
    good = squares([(2, 2)])
    two_images.add("b", good, good, image="missing.tif")
    two_images.add("b", good, squares([(2, 2)], (40, 41)))
    (two_images.path / "broken.tif").write_bytes(b"II*\x00 this is no image")
    two_images.add("b", good, good, image="broken.tif")
    two_images.add("b", good, good, shape="39x40")
    two_images.add("c", good, good)
    result, summary = evaluate(two_images)
    assert result.exit_code == 1
    assert len(summary["failed"]) == 4
    assert set(summary["sources"]) == {"a", "c"}
    errors = [line for line in result.stderr.splitlines() if line.startswith("fcp-eval: error: ")]
    assert len(errors) == 4
    assert "line 4, column image" in errors[0]
    assert "(40, 41)" in errors[1] or "(40, 40)" in errors[1]
    assert "broken.tif" in errors[2]
    assert "(39, 40)" in errors[3]
    assert "4 of 7 images failed" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_failure_nobody_foresaw_does_not_stop_the_others(two_images, calls, monkeypatch):
    usual = Thresholder.segment

    def segment(self, volume, **options):
        if "a_0" in volume.name:
            raise ZeroDivisionError("surprise")
        return usual(self, volume, **options)

    monkeypatch.setattr(Thresholder, "segment", segment)
    result, summary = evaluate(two_images)
    assert result.exit_code == 1
    assert summary["all"]["images"] == 1
    assert "surprise" in summary["failed"][0]["error"]
    assert re.search("a_0.tif: error: .*surprise", result.stderr)


@pytest.mark.parametrize(
    ("stems", "names"),
    [
        (["x", "x", "x_1"], ["s_x", "s_x_2", "s_x_1"]),
        (["x", "x", "x_2"], ["s_x", "s_x_3", "s_x_2"]),
        (["x_2", "x", "x", "x"], ["s_x_2", "s_x", "s_x_3", "s_x_4"]),
    ],
)
def test_no_two_images_share_a_file_name(stems, names):
    rows = [SimpleNamespace(source="s", image=Path(f"{stem}.tif")) for stem in stems]
    assert file_names(rows) == names


@pytest.mark.parametrize("option", [("--model", "v99"), ("--save-masks", "data/manifest.csv")])
def test_what_cannot_work_for_any_row_is_wrong_usage(two_images, monkeypatch, option):
    monkeypatch.chdir(two_images.path.parent)
    result = run("--manifest", two_images.manifest, "--split", "dev", *option)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_a_row_without_diameter_needs_another_choice(two_images, calls):
    two_images.rows[0]["diameter_px"] = ""
    result, summary = evaluate(two_images, "--diameter", "gt")
    assert result.exit_code == 1
    assert "--diameter auto" in summary["failed"][0]["error"]
    assert summary["all"]["images"] == 1


def test_sources_and_limit_choose_rows(two_images, calls):
    good = squares([(2, 2)])
    for source in "bbcc":
        two_images.add(source, good, good)
    _, summary = evaluate(two_images, "--source", "a", "--source", "c", "--limit", "1")
    assert {name: group["images"] for name, group in summary["sources"].items()} == {"a": 1, "c": 1}


def test_a_domain_chooses_rows(two_images, calls):
    good = squares([(2, 2)])
    two_images.add("a", good, good, domain="20x")
    _, summary = evaluate(two_images, "--domain", "20x")
    assert [row["true_objects"] for row in summary["rows"]] == [1]
    assert len(evaluate(two_images)[1]["rows"]) == 3
    unknown = run("--manifest", two_images.manifest, "--split", "dev", "--domain", "63x")
    assert unknown.exit_code == 2
    assert "no row of domain 63x in the manifest; there are: 20x" in unknown.stderr


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--split", "test"), "no split test.*there are: dev"),
        (("--split", "dev", "--source", "z"), "no source z.*there are: a"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(two_images, calls, options, word):
    result = run("--manifest", two_images.manifest, *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert re.search(word, result.stderr)


def test_masks_and_overlays_are_written_for_each_image(two_images, calls, tmp_path):
    masks, overlays = tmp_path / "out" / "masks", tmp_path / "out" / "overlays"
    result = run(
        *("--manifest", two_images.manifest, "--split", "dev"),
        *("--save-masks", masks, "--overlay", overlays),
    )
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in masks.iterdir()) == ["a_a_0_masks.tif", "a_a_1_masks.tif"]
    assert np.array_equal(read_labels(masks / "a_a_0_masks.tif"), squares([(2, 2), (20, 20)]))
    assert sorted(path.name for path in overlays.iterdir()) == ["a_a_0.png", "a_a_1.png"]
    picture = imagecodecs.png_decode((overlays / "a_a_1.png").read_bytes())
    for colour in (TRUE, MISSED, INVENTED):
        assert (picture == colour).all(2).any()


def test_the_overlay_colours_say_found_missed_and_invented():
    truth = squares([(100, 100), (100, 300)], (600, 600), edge=60)
    prediction = squares([(104, 100), (400, 400)], (600, 600), edge=60)
    picture = render_overlay(
        np.zeros(truth.shape, np.uint8), prediction, truth, match(prediction, truth)
    )

    def box(colour):
        drawn = np.argwhere((picture == colour).all(2))
        return drawn.min(0).tolist(), drawn.max(0).tolist()

    assert box(TRUE) == ([104, 100], [163, 159])
    assert box(MISSED) == ([100, 300], [159, 359])
    assert box(INVENTED) == ([400, 400], [459, 459])


@pytest.fixture
def pair(tmp_path):
    """A prediction of two of three objects and one more, and the truth."""
    prediction, truth = tmp_path / "prediction.tif", tmp_path / "truth.tif"
    tifffile.imwrite(prediction, squares([(2, 2), (20, 20), (30, 2)]))
    tifffile.imwrite(truth, squares([(2, 2), (20, 22), (2, 30)]))
    return prediction, truth


def test_two_label_files_are_compared(pair):
    summary = json.loads(run(*pair, "--json").stdout)
    assert (summary["true_objects"], summary["found_objects"]) == (3, 3)
    assert summary["scores"]["f1"] == pytest.approx(2 / 3)
    assert summary["scores"]["ap75"] == pytest.approx(1 / 5)
    assert summary["lenient"]["recall"] == pytest.approx(2 / 3)
    table = run(*pair).stdout
    assert "IoU 0.5" in table
    assert "0.667" in table


def test_centres_of_fiji_are_compared_with_a_label_file(pair, tmp_path):
    table = tmp_path / "Results.csv"
    table.write_text(" ,Area,X,Y,Slice\n1,0,5,4,1\n2,0,23.2,26.9,1\n3,0,39,0,1\n4,0,6,6,1\n")
    summary = json.loads(run(pair[0], table, "--json").stdout)
    assert summary["scores"] is None
    assert (summary["true_objects"], summary["found_objects"]) == (4, 3)
    assert summary["lenient"]["precision"] == pytest.approx(2 / 3)
    assert summary["lenient"]["recall"] == pytest.approx(2 / 4)
    assert "centre in object" in run(pair[0], table).stdout


def test_slices_of_a_stack_count_from_one_unless_told(tmp_path):
    prediction, table = tmp_path / "stack.tif", tmp_path / "centres.tsv"
    labels = np.zeros((6, 20, 20), np.uint16)
    labels[0, 4:8, 4:8] = 1
    labels[5, 4:8, 4:8] = 2
    tifffile.imwrite(prediction, labels, metadata={"axes": "ZYX"})
    table.write_text("X\tY\tSlice\n5\t5\t1\n5\t5\t6\n")
    assert json.loads(run(prediction, table, "--json").stdout)["lenient"]["f1"] == 1
    result = run(prediction, table, "--first-slice", "0")
    assert result.exit_code == 1
    assert "centre 2" in result.stderr
    assert "outside" in result.stderr


def test_columns_may_have_other_names_and_separators(tmp_path):
    table = tmp_path / "centres.csv"
    table.write_text("id;row; col ;plane\n1;10;20;3\n", encoding="utf-8-sig")
    columns = Columns(x="col", y="row", z="plane", first_slice=0)
    assert read_centres(table, 3, columns).tolist() == [[3, 10, 20]]
    assert read_centres(table, 2, columns).tolist() == [[10, 20]]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("X,Y\n1,2\n", "no column Slice, choose one with --z-column; there are: X, Y"),
        ("X,Y,Slice\n1,2,3\n1,,3\n", "line 3, column Y: nothing is no number"),
        ("X,Y,Slice\n1,nan,3\n", "line 2, column Y: nan"),
        ("X,Y,Slice\n1,2\n", "column Slice"),
    ],
)
def test_a_wrong_table_of_centres_is_explained(tmp_path, text, word):
    table = tmp_path / "centres.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=word):
        read_centres(table, 3, Columns())


def test_files_that_do_not_fit_are_named(pair, tmp_path):
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, squares([(2, 2)], (40, 41)))
    result = run(pair[0], other)
    assert result.exit_code == 1
    assert result.stderr.startswith("fcp-eval: error: ")
    assert "prediction.tif" in result.stderr
    assert "other.tif" in result.stderr
    assert "(40, 41)" in result.stderr
    missing = run(pair[0], tmp_path / "none.tif")
    assert missing.exit_code == 1
    assert "none.tif" in missing.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("one.tif",),
        ("one.tif", "two.tif", "three.tif"),
        ("one.tif", "two.tif", "--split", "dev"),
        ("one.tif", "two.tif", "--overlay", "folder"),
        ("one.tif", "two.tif", "--manifest", "m.csv", "--split", "dev"),
        ("--manifest", "m.csv"),
        ("--manifest", "m.csv", "--split", "dev", "--diameter", "big"),
        ("--manifest", "m.csv", "--split", "dev", "--limit", "0"),
    ],
)
def test_wrong_usage_exits_with_2(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_a_missing_manifest_is_one_line(tmp_path):
    result = run("--manifest", tmp_path / "none.csv", "--split", "dev")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "none.csv" in result.stderr


def test_a_real_model_is_driven_and_its_settings_recorded(folder):
    cubes = squares([(2, 2, 2), (2, 20, 2)], (12, 32, 32))
    folder.add("x", cubes, cubes, voxel_um_zyx="1.5x1x1")
    folder.add("x", cubes[2], cubes[2])
    model = Path(__file__).parents[1] / "data" / "tiny.onnx"
    result, summary = evaluate(folder, "--model", model, "--diameter", "12.5", "--threads", "1")
    assert result.exit_code == 0, result.stderr
    assert [row["settings"]["mode"] for row in summary["rows"]] == ["3d", "2d"]
    assert summary["rows"][0]["settings"]["anisotropy"] == 1.5
    for row in summary["rows"]:
        assert row["settings"]["diameter"] == 12.5
        assert 0 < row["network_seconds"] < row["total_seconds"]
