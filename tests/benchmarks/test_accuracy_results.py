"""What is kept of a run, which images belong together, and the tables made of it."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from benchmarks.accuracy import sections, tables, targets
from benchmarks.accuracy.__main__ import SOURCES
from benchmarks.accuracy.card import accuracy_entry, card_table, fill
from benchmarks.accuracy.images import choose_items
from benchmarks.accuracy.models import Model, check_names
from benchmarks.accuracy.phantoms import ANISOTROPIES, PHOTONS, condition_of, conditions
from benchmarks.accuracy.results import Results, parts_of
from benchmarks.accuracy.store import Record, Store, as_lists
from benchmarks.common import markdown
from fcp_runtime.errors import InputError, SettingsError
from fcp_runtime.evaluate.manifest import Row, group_of, read_manifest
from fcp_runtime.evaluate.metrics import match, score
from fcp_runtime.settings import Settings

GREY = "minisblack"
HEADER = "split,source,image,label,ndim,diameter_px,voxel_um_zyx,note\n"
STUDENT = Model("v3", "v3", "v3", "a" * 64, "student")
TEACHER = Model("teacher", "t.onnx", "cellpose", "b" * 64, "teacher")


@pytest.fixture
def rows(tmp_path) -> list[Row]:
    """Two images, three stacks of two embryos, and a stack with incomplete truth."""
    flat, stack = np.zeros((8, 8), np.uint16), np.zeros((4, 8, 8), np.uint16)
    flat[2:6, 2:6] = 1
    stack[1:3, 2:6, 2:6] = 1
    lines = [
        "dev2d,dsb2018,i{}.tif,l{}.tif,2,4,,",
        "dev2d,dsb2018,i{}.tif,l{}.tif,2,4,,",
        "dev3d,bbbc050,i{}.tif,l{}.tif,3,4,1x1x1,embryo 9",
        "dev3d,bbbc050,i{}.tif,l{}.tif,3,4,1x1x1,embryo 9",
        "dev3d,bbbc050,i{}.tif,l{}.tif,3,4,1x1x1,embryo 10",
        "dev3d,cellos_organoid,i{}.tif,l{}.tif,3,4,1x1x1,recall only",
        "train2d,dsb2018,i{}.tif,l{}.tif,2,4,,",
    ]
    for number, line in enumerate(lines):
        labels = flat if ",2,4," in line else stack
        tifffile.imwrite(tmp_path / f"i{number}.tif", labels * 1000 + number, photometric=GREY)
        tifffile.imwrite(tmp_path / f"l{number}.tif", labels, photometric=GREY)
    text = "\n".join(line.format(number, number) for number, line in enumerate(lines))
    (tmp_path / "manifest.csv").write_text(HEADER + text + "\n")
    return read_manifest(tmp_path / "manifest.csv", SOURCES)


def record(item, found: int, *, right: bool | None = None) -> Record:
    """Of a row of ten nuclei, so many found without error."""
    truth = np.repeat(np.arange(1, 11), 300)[None]
    at, lenient = as_lists(score(match(np.where(truth <= found, truth, 0), truth)))
    whole = (at, lenient) if item.row.source == "bbbc050" else (None, None)
    rule = "gt" if right is None else "auto"
    settings = Settings(mode="2d" if item.row.ndim == 2 else "3d").as_dict()
    del settings["model"]
    times = (0.5, 0.7, 1, "c")
    return Record(item.key, item.digest, rule, at, lenient, *whole, right, *times, settings)


@pytest.fixture
def results(rows) -> Results:
    items = choose_items(rows, ["dev2d", "dev3d"])
    records = {(STUDENT, item): record(item, 8) for item in items}
    records |= {(TEACHER, item): record(item, 9) for item in items[:-2]}
    judged = {(STUDENT, item): record(item, 5, right=item is items[0]) for item in items[:2]}
    return Results(tuple(items), (TEACHER, STUDENT), records, judged)


def test_stacks_of_one_embryo_are_one_group(rows):
    items = choose_items(rows, ["dev3d"])
    groups = [item.group for item in items]
    assert groups[0] == groups[1] != groups[2]
    assert items[3].source == "cellos_organoid (recall only)"


def test_stacks_whose_notes_name_no_specimen_may_be_one_film(rows):
    first, second = rows[2], rows[4]
    films = [replace(row, note="denoised", source="lstree") for row in (first, second)]
    assert group_of(films[0]) == group_of(replace(films[1], note="deconvolved"))
    assert group_of(rows[0]) != group_of(rows[1])


def test_a_changed_image_has_another_digest(rows):
    before = choose_items(rows, ["dev2d"])
    tifffile.imwrite(rows[0].image, np.ones((8, 8), np.uint16))
    after = choose_items(rows, ["dev2d"])
    assert [a.digest == b.digest for a, b in zip(before, after, strict=True)] == [False, True]


def test_limit_and_left_out_sources(rows):
    assert [i.source for i in choose_items(rows, ["dev2d", "dev3d"], limit=1)].count("dsb2018") == 1
    assert {i.row.split for i in choose_items(rows, ["dev2d", "dev3d"], without=["bbbc050"])} == {
        "dev2d",
        "dev3d",
    }
    with pytest.raises(SettingsError, match="no image"):
        choose_items(rows, ["dev2d"], without=["dsb2018"])


def test_a_store_remembers_and_the_last_result_counts(rows, tmp_path):
    item = choose_items(rows, ["dev2d"])[0]
    store = Store(tmp_path / "results", "v3", "f" * 64)
    assert store.find(item, "gt") is None
    store.add(record(item, 5))
    store.add(record(item, 7))
    again = Store(tmp_path / "results", "v3", "f" * 64)
    assert again.find(item, "gt") == record(item, 7)
    assert again.find(item, "auto") is None
    assert Store(tmp_path / "results", "v3", "e" * 64).find(item, "gt") is None


def test_a_result_with_other_settings_than_usual_is_not_used(rows, tmp_path):
    flat, stack = choose_items(rows, ["dev2d", "dev3d"])[1:3]
    store = Store(tmp_path / "results", "v3", "f" * 64)
    for item in (flat, stack):
        made = record(item, 5)
        store.add(replace(made, settings=made.settings | {"flow_threshold": 0.7}))
    assert store.find(flat, "gt") is None
    assert store.find(stack, "gt") is not None  # flows are not checked in 3-D
    store.add(replace(record(stack, 5), settings={"mode": "3d", "cellprob_threshold": 1.0}))
    assert store.find(stack, "gt") is None
    store.add(replace(record(stack, 5), settings={"mode": "3d"}))  # of before there were others
    assert store.find(stack, "gt") is not None


def test_a_line_cut_short_is_passed_over(rows, tmp_path):
    first, second = choose_items(rows, ["dev2d"])
    store = Store(tmp_path / "results", "v3", "f" * 64)
    store.add(record(first, 5))
    whole = store.path.read_text()
    store.path.write_text(whole + whole[: len(whole) // 2])
    again = Store(tmp_path / "results", "v3", "f" * 64)
    assert list(again.records) == [record(first, 5).key]
    again.add(record(second, 6))
    both = Store(tmp_path / "results", "v3", "f" * 64)
    assert list(both.records) == [record(first, 5).key, record(second, 6).key]


def test_counts_come_back_as_they_were(rows):
    made = record(choose_items(rows, ["dev2d"])[0], 6)
    assert made.scores.counts(0.5).tp == 6
    assert made.scores.counts(0.5).fn == 4
    assert made.scores.lenient.recall == pytest.approx(0.6)


def test_parts_keep_incomplete_truth_out_of_the_whole(results):
    titles = [part.title for part in parts_of(results.items)]
    assert titles == [
        "dsb2018",
        "bbbc050",
        "bbbc050, labels of 200 voxels and more",
        "cellos_organoid (recall only)",
    ]
    assert [part.recall_only for part in results.parts] == [False, False, False, True]


def test_models_are_compared_on_images_that_both_have(results):
    part = next(part for part in results.parts if part.title == "bbbc050")
    difference = results.difference(STUDENT, TEACHER, part)
    assert difference is not None
    assert (difference.images, difference.groups) == (2, 1)
    assert difference.f1.value == pytest.approx(16 / 18 - 18 / 19)
    incomplete = next(part for part in results.parts if part.recall_only)
    assert results.difference(STUDENT, STUDENT, incomplete) is None


def test_sections_hold_the_figures(results):
    text = sections.accuracy(results)
    assert "### dsb2018: 2 images, 20 nuclei" in text
    assert "| v3 | 1.000 ± 0.000 | 0.800 ± 0.000 | 0.889 ± 0.000 |" in text
    assert "teacher (2 of 3 images)" in text
    assert "recall only" not in text
    assert "| cellos_organoid (recall only) | v3 | 0.800 | 0.800 |" in sections.recall_only(results)
    table = sections.differences(sections.compared(results, [(STUDENT, TEACHER)]), better=False)
    assert "-0.058 [-0.058, -0.058]" in table
    assert "no (one group: no interval)" in table
    assert "| dsb2018 | F1 | 0.880 | v3 | 0.889 | 0.947 | yes |" in targets.targets(results)


def test_the_card_table_says_what_is_known(results):
    table = card_table(results, STUDENT)
    lines = table.splitlines()
    assert lines[0].startswith("| source | images | nuclei | v3 F1 | teacher F1 |")
    assert lines[2].split("|")[1:6] == [" dsb2018 ", " 2 ", " 20 ", " 0.889 ", " 0.947 "]
    assert lines[2].endswith("| 0.667 | 1 of 2 |")  # five of ten found at the estimate
    assert lines[3].endswith("|  |  |")  # no stack was estimated
    assert lines[3].split("|")[5].strip() == ""  # the teacher lacks a stack
    assert accuracy_entry(results, STUDENT)["dev2d"]["dsb2018"]["f1"] == 0.8889


def test_the_report_tells_what_students_do_at_estimated_diameters(results):
    lines = sections.estimated(results).splitlines()
    assert lines[2:] == ["| dsb2018 | 0.667 / 0.500, 1 of 2 |"]
    assert sections.estimated(replace(results, estimated={})) == ""


def test_a_table_takes_the_place_of_the_old_one(tmp_path):
    page = tmp_path / "card.md"
    page.write_text("# v3\n\n| source | images | nuclei | F1 |\n| --- |\n| old |\n\n## Limits\n")
    fill(page, "| new |")
    assert page.read_text() == "# v3\n\n| new |\n\n## Limits\n"
    with pytest.raises(InputError, match="one table that begins"):
        fill(page, "| new |")


def test_csv_tables_are_complete(results, tmp_path):
    tables.write_images(results, tmp_path / "images.csv")
    tables.write_accuracy(results, tmp_path / "accuracy.csv")
    for name, count in (("images", len(results.records)), ("accuracy", 7)):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        assert len(rows) == count
        assert {len(row) for row in rows} == {len(header)}


def test_markdown_cells_stand_in_a_row():
    assert markdown(("a", "b"), [(1, 2.5)]) == "| a | b |\n| --- | ---: |\n| 1 | 2.5 |"


def test_two_models_of_one_name_are_refused():
    with pytest.raises(SettingsError, match="two models are called v3"):
        check_names([STUDENT, STUDENT])


def test_a_phantom_is_known_by_its_file_name():
    made = conditions(2)
    assert len(made) == len(set(made)) == 2 * 3 * (2 + len(PHOTONS) - 1 + len(ANISOTROPIES) - 1 + 1)
    assert [condition_of(f"{one.stem}_image.tif") for one in made] == made
    with pytest.raises(KeyError):
        condition_of("nuclei_image.tif")
