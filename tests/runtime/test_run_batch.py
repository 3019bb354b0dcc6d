"""``fcp-run`` over many images: none stops the others, each is accounted for."""

from __future__ import annotations

import csv
import json
import re
import shutil
import weakref

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fcp_runtime.cli.run import main
from fcp_runtime.errors import InputError
from fcp_runtime.phantom import nuclei_image


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "picture.tif"
    tifffile.imwrite(path, nuclei_image((64, 64), diameter=18, seed=1).image)
    return path


@pytest.fixture
def folders(tmp_path, picture):
    inputs, results = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    results.mkdir()
    for name in ("a1", "a2", "b1"):
        shutil.copy(picture, inputs / f"{name}.tif")
    return inputs, results


def test_three_broken_files_among_fifty_leave_47_results_and_3_named_errors(tmp_path, picture):
    inputs, results = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    results.mkdir()
    broken = {3: b"", 20: b"no image", 49: picture.read_bytes()[:900]}
    for index in range(50):
        (inputs / f"image{index:02d}.tif").write_bytes(broken.get(index, picture.read_bytes()))
    done = run(inputs, "-o", results, "--diameter", 18, "--summary", tmp_path / "batch.csv")
    assert done.exit_code == 1
    assert len(list(results.iterdir())) == 47
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(errors) == 3
    assert "3 of 50 inputs failed" in done.stderr
    rows = read_csv(tmp_path / "batch.csv")
    assert [row["status"] for row in rows] == [
        "failed" if index in broken else "done" for index in range(50)
    ]
    for index, row in enumerate(rows):
        assert row["input"] == str(inputs / f"image{index:02d}.tif")
        if index in broken:
            assert f"image{index:02d}.tif" in row["error"]
            assert any(row["error"] in line for line in errors)
            assert row["objects"] == row["seconds"] == ""
        else:
            labels = tifffile.imread(results / f"image{index:02d}_masks.tif")
            assert int(row["objects"]) == labels.max() > 0
            assert (float(row["diameter"]), float(row["anisotropy"])) == (18, 1)
            assert float(row["seconds"]) > 0
            assert row["error"] == ""


def test_existing_results_are_left_as_they_are(folders, tmp_path):
    inputs, results = folders
    (results / "a2_masks.tif").write_bytes(b"mine")
    summary = tmp_path / "batch.csv"
    done = run(
        inputs, "-o", results, "--diameter", 18, "--skip-existing", "--json", "--summary", summary
    )
    assert done.exit_code == 0, done.output
    assert (results / "a2_masks.tif").read_bytes() == b"mine"
    assert [row["status"] for row in read_csv(summary)] == ["done", "skipped", "done"]
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("skipped", False) for line in printed] == [False, True, False]


def test_a_skipped_image_keeps_its_figures_in_the_summary(folders, tmp_path):
    inputs, results = folders
    summary = tmp_path / "batch.csv"
    again = (inputs, "-o", results, "--diameter", 18, "--skip-existing", "--summary", summary)
    assert run(*again).exit_code == 0
    first = read_csv(summary)
    (results / "b1_masks.tif").unlink()
    assert run(*again).exit_code == 0
    second = read_csv(summary)
    assert [row.pop("status") for row in second] == ["skipped", "skipped", "done"]
    assert [row.pop("status") for row in first] == ["done"] * 3
    assert second[:2] == first[:2]


def test_a_skipped_image_keeps_its_figures_on_the_index_page(folders, tmp_path):
    inputs, results = folders
    again = (inputs, "-o", results, "--diameter", 18, "--report", results)
    again = (*again, "--skip-existing", "--summary", tmp_path / "batch.csv")
    assert run(*again).exit_code == 0
    first = (results / "index.html").read_text(encoding="utf-8")
    assert run(*again).exit_code == 0
    second = (results / "index.html").read_text(encoding="utf-8")
    assert first.count("<td>done</td>") == second.count("<td>skipped</td>") == 3
    rows = [re.findall("<tr.*?</tr>", page) for page in (first, second)]
    assert [row.replace("done", "skipped") for row in rows[0]] == rows[1]


def test_another_table_of_the_summarys_name_is_replaced(folders, tmp_path):
    inputs, results = folders
    summary = tmp_path / "batch.csv"
    summary.write_text("input,objects\na,1\n", encoding="utf-8")
    (results / "a1_masks.tif").write_bytes(b"mine")
    done = run(inputs, "-o", results, "--diameter", 18, "--skip-existing", "--summary", summary)
    assert done.exit_code == 0, done.output
    assert [row["objects"] == "" for row in read_csv(summary)] == [True, False, False]


def test_an_image_whose_table_is_missing_is_not_skipped(folders):
    inputs, results = folders
    (results / "a2_masks.tif").write_bytes(b"mine")
    done = run(inputs, "-o", results, "--diameter", 18, "--skip-existing", "--table", results)
    assert done.exit_code == 0, done.output
    assert (results / "a2_masks.tif").read_bytes() != b"mine"
    assert len(list(results.glob("*_table.csv"))) == 3


def test_a_pattern_is_expanded(folders):
    inputs, results = folders
    done = run(inputs / "a*.tif", "-o", results, "--diameter", 18)
    assert done.exit_code == 0, done.output
    assert {path.name for path in results.iterdir()} == {"a1_masks.tif", "a2_masks.tif"}


def test_a_pattern_that_fits_nothing_is_an_error(folders):
    inputs, results = folders
    done = run(inputs / "c*.tif", "-o", results)
    assert done.exit_code == 1
    assert "c*.tif" in done.stderr


def test_a_file_whose_name_has_wildcards_is_that_file(folders, picture):
    inputs, results = folders
    shutil.copy(picture, inputs / "a[12].tif")
    done = run(inputs / "a[12].tif", "-o", results, "--diameter", 18)
    assert done.exit_code == 0, done.output
    assert [path.name for path in results.iterdir()] == ["a[12]_masks.tif"]


def test_masks_beside_their_images_are_not_segmented_in_turn(folders):
    inputs, _ = folders
    for _ in range(2):
        done = run(inputs, "-o", inputs, "--diameter", 18, "--skip-existing")
        assert done.exit_code == 0, done.output
    assert len(list(inputs.iterdir())) == 6


def test_an_output_that_is_another_input_is_refused(folders):
    inputs, _ = folders
    before = (inputs / "a1.tif").read_bytes()
    shutil.copy(inputs / "a2.tif", inputs / "a.tif")
    done = run(inputs / "a.tif", inputs / "a1.tif", "-o", inputs / "{name}1.tif")
    assert done.exit_code == 2
    assert (inputs / "a1.tif").read_bytes() == before


def test_an_image_in_the_folder_is_not_taken_for_a_mask_of_another(folders):
    inputs, _ = folders
    before = (inputs / "a1.tif").read_bytes()
    shutil.copy(inputs / "a2.tif", inputs / "a.tif")
    done = run(inputs, "-o", inputs / "{name}1.tif", "--diameter", 18)
    assert done.exit_code == 2
    assert "a1.tif: the output would replace the input" in done.stderr
    assert (inputs / "a1.tif").read_bytes() == before


def test_flows_beside_their_images_are_not_segmented_in_turn(folders):
    inputs, _ = folders
    outputs = ("-o", inputs / "{name}_m.ome.tif", "--flows", inputs)
    for _ in range(2):
        done = run(inputs, *outputs, "--diameter", 18)
        assert done.exit_code == 0, done.output
    assert len(list(inputs.iterdir())) == 9


def test_a_summary_that_would_replace_an_input_is_refused(folders):
    inputs, results = folders
    image = inputs / "a1.tif"
    before = image.read_bytes()
    done = run(image, "-o", results / "mask.tif", "--diameter", 18, "--summary", image)
    assert done.exit_code == 2
    assert "would replace the input" in done.stderr
    assert image.read_bytes() == before


def test_a_report_that_the_index_page_would_replace_is_refused(folders, picture):
    inputs, results = folders
    shutil.copy(picture, inputs / "index.tif")
    done = run(inputs, "-o", results, "--report", results / "{name}.html")
    assert done.exit_code == 2
    assert "index.html: two results" in done.stderr
    assert list(results.iterdir()) == []


def test_hidden_files_of_a_folder_are_no_inputs(folders):
    inputs, results = folders
    (inputs / "._a1.tif").write_bytes(b"notes of macOS")
    shutil.copy(inputs / "a1.tif", inputs / ".fcp-0123abcd.tif")
    done = run(inputs, "-o", results, "--diameter", 18)
    assert done.exit_code == 0, done.output
    assert len(list(results.iterdir())) == 3


def test_an_interrupted_run_keeps_the_rows_of_inputs_that_it_did_not_reach(folders, monkeypatch):
    inputs, results = folders
    summary = results / "batch.csv"
    again = (inputs, "-o", results, "--diameter", 18, "--skip-existing", "--summary", summary)
    again = (*again, "--report", results)
    assert run(*again).exit_code == 0
    first = read_csv(summary)
    (results / "a2_masks.tif").unlink()

    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fcp_runtime.segmenter.Segmenter.segment", interrupt)
    done = run(*again)
    assert done.exit_code == 130
    assert read_csv(summary) == [first[0] | {"status": "skipped"}, *first[1:]]
    index = (results / "index.html").read_text(encoding="utf-8")
    assert index.count("_report.html") == 3


def test_an_interrupted_first_run_has_rows_of_what_it_reached(folders, monkeypatch):
    inputs, results = folders
    (results / "a1_masks.tif").write_bytes(b"mine")

    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fcp_runtime.segmenter.Segmenter.segment", interrupt)
    summary = results / "batch.csv"
    assert run(inputs, "-o", results, "--skip-existing", "--summary", summary).exit_code == 130
    assert [row["status"] for row in read_csv(summary)] == ["skipped"]


@pytest.mark.parametrize("kind", [ZeroDivisionError, InputError])
def test_a_failure_lets_go_of_its_image_and_shows_where_with_debug(folders, monkeypatch, kind):
    from fcp_runtime.segmenter import Segmenter

    inputs, results = folders
    pixels = []
    alive = []

    def predict(_self, load, *_rest):
        volume = load()
        alive.append(sum(reference() is not None for reference in pixels))
        held = np.array(volume.pixels)
        pixels.append(weakref.ref(held))
        try:
            {}["cause"]
        except KeyError as error:
            raise kind(f"surprise {held.shape}") from error

    monkeypatch.setattr(Segmenter, "_predict", predict)
    done = run(inputs, "-o", results, "--diameter", 18, "--debug")
    assert done.exit_code == 1
    assert alive == [0, 0, 0]
    assert done.stderr.count(", in predict") >= 3
    assert done.stderr.splitlines()[-1] == "fcp-run: 3 of 3 inputs failed"


def test_a_lone_failure_is_in_the_summary_too(tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"no image")
    summary = tmp_path / "batch.csv"
    done = run(tmp_path / "bad.tif", "-o", tmp_path / "mask.tif", "--summary", summary)
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert read_csv(summary)[0]["status"] == "failed"


def test_a_failure_nobody_foresaw_does_not_stop_the_others(folders, monkeypatch):
    from fcp_runtime.segmenter import Segmenter

    inputs, results = folders
    usual = Segmenter._predict

    def predict(self, load, *rest):
        volume = load()
        if "a2" in volume.name:
            raise ZeroDivisionError("surprise")
        return usual(self, lambda: volume, *rest)

    monkeypatch.setattr(Segmenter, "_predict", predict)
    done = run(inputs, "-o", results, "--diameter", 18)
    assert done.exit_code == 1
    assert "surprise" in done.stderr
    assert "a2.tif" in done.stderr
    assert len(list(results.iterdir())) == 2


def test_reports_of_several_inputs_have_an_index(folders):
    inputs, results = folders
    (inputs / "a1.tif").write_bytes(b"no image")
    done = run(inputs, "-o", results, "--diameter", 18, "--report", results)
    assert done.exit_code == 1
    index = (results / "index.html").read_text(encoding="utf-8")
    assert re.findall('href="(.*?)"', index) == ["a2_report.html", "b1_report.html"]
    assert all((results / name).is_file() for name in ("a2_report.html", "b1_report.html"))
    assert "3 inputs, 1 failed" in index
    assert str(inputs / "a1.tif") in index


def test_warnings_of_a_run_are_in_its_report(tmp_path):
    image = tmp_path / "flat.tif"
    tifffile.imwrite(image, np.full((30, 40), 5, np.uint16))
    done = run(image, "-o", tmp_path / "mask.tif", "--report", tmp_path / "report.html")
    assert done.exit_code == 0, done.output
    assert "no signal" in done.stderr
    assert "no signal" in (tmp_path / "report.html").read_text(encoding="utf-8")
