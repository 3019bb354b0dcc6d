"""The subcommands of fcp-distill on a tiny manifest: what they leave behind, what they refuse."""

from __future__ import annotations

import csv
import hashlib
import json

import formula
import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from fcp_export.cli.distill import main
from fcp_export.data import patches
from fcp_export.data.phantoms import make_phantom
from fcp_export.data.rows import plane_digests
from fcp_export.distill import loop
from fcp_export.export import shipped_checkpoint
from fcp_export.teacher import load_cellpose

SPLITS = ("train2d", "train2d", "train3d", "train3d", "dev2d", "dev3d", "nottrain")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(patches, "PATCH_EDGES", (24, 32))
    monkeypatch.setattr(loop, "VALIDATION_BATCHES", 1)


@pytest.fixture
def manifest(tmp_path, make_net):
    """Images of six splits, two sources, half in domain 20x, all but one labelled, and a teacher."""
    rows = ["split,source,image,label,ndim,diameter_px,voxel_um_zyx,note,domain"]
    for index, split in enumerate(SPLITS):
        shape = (18, 24, 26) if "3d" in split else (40, 48)
        image = 4000 * formula.uniform(f"image {index}", shape)
        labels = np.zeros(shape, np.uint16)
        labels[..., 5:18, 4:20] = 3
        name = f"{split}{index}.tif"
        tifffile.imwrite(tmp_path / name, image.astype(np.uint16))
        tifffile.imwrite(tmp_path / f"label_{name}", labels)
        label = "" if index == 3 else f"label_{name}"
        domain = "20x" if index % 2 else "40x"
        source = "other" if index == 1 else "made"
        voxel = "1x1x1" if len(shape) == 3 else ""
        end = f"17,{voxel},embryo {index},{domain}"
        rows.append(f"{split},{source},{name},{label},{len(shape)},{end}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    net = make_net("cellpose")
    net.output[2].bias.data[2] = 30  # it sees a nucleus everywhere
    torch.save(net.state_dict(), tmp_path / "teacher.pt")
    return tmp_path / "manifest.csv"


def call(command, manifest, folder, *more):
    teacher = manifest.with_name("teacher.pt")
    # the teacher is slow, and the images are always the same: one cache beside all tests' folders
    cache = manifest.parents[1] / "maps"
    given = (
        ("--init", teacher) if command == "teacher" else ("--teacher", teacher, "--cache", cache)
    )
    arguments = [
        command, *given, "--manifest", manifest, "-o", folder, "--patches", "2",
        "--batch-size", "1", "--slice-step", "6", *more,
    ]  # fmt: skip
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def distil(manifest, folder, *more):
    return call("student", manifest, folder, "--student", "v3", "--validate-every", "1", *more)


def rows_of(folder) -> dict:
    return json.loads((folder / "rows.json").read_text())


def steps(folder) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def planes_of(manifest, *splits) -> set[str]:
    names = [f"{split}{n}.tif" for n, split in enumerate(SPLITS) if split in splits]
    images = [tifffile.imread(manifest.with_name(name)) for name in names]
    return {digest for image in images for digest in plane_digests(image)}


def test_nothing_of_a_dev_row_is_in_a_run(manifest, tmp_path):
    done = distil(manifest, tmp_path / "run", "--cache", tmp_path / "maps")
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "run")
    names = [name.rsplit("/")[-1] for name in rows["images"]]
    assert names == ["train2d0.tif", "train2d1.tif", "train3d2.tif", "train3d3.tif"]
    used = {digest for digests in rows["planes"].values() for digest in digests}
    assert used == planes_of(manifest, "train2d", "train3d")
    assert not used & planes_of(manifest, "dev2d", "dev3d", "nottrain")
    groups = rows["validation_groups"]
    assert len(groups) == 1
    assert not any("dev" in group for group in groups)
    # an image is one slice, a stack three views: no more than those of the train rows were taught
    assert len(list((tmp_path / "maps").glob("*.npy"))) == 2 + 2 * 3
    assert steps(tmp_path / "run") == [1, 2]
    assert (tmp_path / "run" / "student.safetensors").exists()
    assert (tmp_path / "run" / "curves.png").exists()


@pytest.mark.parametrize("command", ["student", "teacher"])
def test_a_dev_plane_under_the_name_of_a_train_image_is_refused(manifest, tmp_path, command):
    stack = tifffile.imread(manifest.with_name("dev3d5.tif"))
    hidden = tifffile.imread(manifest.with_name("train3d2.tif"))
    hidden[7] = stack[3]
    tifffile.imwrite(manifest.with_name("train3d2.tif"), hidden.astype(np.float32))
    more = ["--student", "v3"] if command == "student" else []
    refused = call(command, manifest, tmp_path / "run", *more)
    assert refused.exit_code == 1
    assert "train3d2.tif: shows the same as" in refused.stderr
    assert "dev3d5.tif of split dev3d" in refused.stderr
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_the_command_goes_on_only_when_asked(manifest, tmp_path):
    assert distil(manifest, tmp_path / "run").exit_code == 0
    refused = distil(manifest, tmp_path / "run")
    assert refused.exit_code == 1
    assert "add --resume" in refused.stderr
    assert distil(manifest, tmp_path / "run", "--resume", "--patches", "3").exit_code == 0
    assert steps(tmp_path / "run")[-1] == 3


def test_a_domain_chooses_rows_and_an_unknown_one_is_refused(manifest, tmp_path):
    assert distil(manifest, tmp_path / "run", "--domain", "40x").exit_code == 0
    assert [n[-7:-4] for n in rows_of(tmp_path / "run")["images"]] == ["2d0", "3d2"]
    unknown = distil(manifest, tmp_path / "other", "--domain", "63x")
    assert unknown.exit_code == 1
    assert "no row of a split train* of domain 63x" in unknown.stderr


def test_a_source_is_left_out_and_an_unknown_one_is_refused(manifest, tmp_path):
    done = distil(manifest, tmp_path / "run", "--without", "other", "--validation", "0.5")
    assert done.exit_code == 0
    assert [n[-7:-4] for n in rows_of(tmp_path / "run")["images"]] == ["2d0", "3d2", "3d3"]
    unknown = distil(manifest, tmp_path / "other", "--without", "elsewhere")
    assert unknown.exit_code == 1
    assert "no source elsewhere to leave out; rows of a split train* have: made, other" in unknown.stderr  # fmt: skip


def test_only_rows_of_the_licences_asked_for_are_learnt_from(manifest, tmp_path):
    lines = manifest.read_text().splitlines()
    stated = ["CC0", "LGPL-3.0 (repository)", "cc by 4.0 (third-party)", "MIT", "", "", ""]
    rows = [f"{line},{licence}" for line, licence in zip(lines[1:], stated, strict=True)]
    manifest.write_text("\n".join([f"{lines[0]},licence", *rows]) + "\n")
    more = ["--licence", "CC0", "--licence", "CC BY"]
    assert distil(manifest, tmp_path / "run", *more).exit_code == 0
    assert [n[-7:-4] for n in rows_of(tmp_path / "run")["images"]] == ["2d0", "3d2"]
    told = json.loads((tmp_path / "run" / "student.json").read_text())
    assert told["licences"] == ["made: CC0", "made: cc by 4.0 (third-party)"]
    refused = distil(manifest, tmp_path / "other", "--licence", "BSD")
    assert refused.exit_code == 1
    assert "no row of a split train* under BSD" in refused.stderr


def test_without_a_teacher_exact_labels_are_learnt_from(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(patches, "PATCH_EDGES", (32,))
    arguments = [
        "student", "--student", "v4", "--manifest", manifest, "-o", tmp_path / "run",
        "--patches", "2", "--batch-size", "1", "--slice-step", "6", "--validate-every", "1",
        "--augmentation", "wide", "--validation", "0.5",
    ]  # fmt: skip
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    # the third stack has no labels
    assert [n[-7:-4] for n in rows_of(tmp_path / "run")["images"]] == ["2d0", "2d1", "3d2"]
    told = json.loads((tmp_path / "run" / "student.json").read_text())
    assert told["teacher"] == "labels"
    assert told["recipe"]["data"]["label_share"] == 1
    assert told["recipe"]["augmentation"]["scale"] == 1.6
    assert load_file(tmp_path / "run" / "student.safetensors")["diam_mean"].tolist() == [17.0]


def test_a_specialist_starts_from_a_student(manifest, tmp_path):
    assert distil(manifest, tmp_path / "first").exit_code == 0
    first = tmp_path / "first" / "student.safetensors"
    more = ["--init", first, "--learning-rate", "1e-9"]
    assert distil(manifest, tmp_path / "second", *more).exit_code == 0
    one, two = load_file(first), load_file(tmp_path / "second" / "student.safetensors")
    weights = [name for name in one if name.endswith("weight")]
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in weights)
    assert json.loads((tmp_path / "second" / "settings.json").read_text())["init"] == first.name
    wrong = distil(manifest, tmp_path / "third", "--student", "v1", "--init", first)
    assert wrong.exit_code == 1
    assert "not a checkpoint of the v1 network" in wrong.stderr


def test_dim_nuclei_are_a_choice_of_the_run(manifest, tmp_path):
    assert distil(manifest, tmp_path / "run", "--dim", "6").exit_code == 0
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["augmentation"]["dim"] == 6


@pytest.mark.parametrize("value", ["0.5", "nan", "inf"])
def test_nuclei_can_be_dimmed_by_no_impossible_factor(manifest, tmp_path, value):
    refused = distil(manifest, tmp_path / "run", "--dim", value)
    assert refused.exit_code == 2
    assert "dim" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_phantoms_are_a_source_beside_the_rows(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("fcp_export.data.phantoms.make_phantom", _small_phantom)
    done = distil(manifest, tmp_path / "two", "--phantoms", "2", "--validation", "0.99")
    assert done.exit_code == 0, done.output
    groups = rows_of(tmp_path / "two")["validation_groups"]
    assert len(groups) == 2  # of three embryos of one source; the other has one only
    assert not any("phantom" in group or "other" in group for group in groups)
    student = json.loads((tmp_path / "two" / "student.json").read_text())
    assert student["training_data"] == ["made", "other", "phantom"]
    assert student["recipe"]["data"]["phantoms"] == 2


def write_rows(manifest, *changes, source=None) -> None:
    """Replace text in the manifest, and the source of all rows."""
    text = manifest.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    if source:
        text = text.replace(",made,", f",{source},").replace(",other,", f",{source},")
    manifest.write_text(text)


def test_stacks_without_a_note_and_images_of_one_name_are_groups_of_their_own(manifest, tmp_path):
    """As a lab has them: well0/dapi.tif, well1/dapi.tif, and stacks that nothing is noted of."""
    changes = []
    for index in (0, 1):
        (tmp_path / f"well{index}").mkdir()
        (tmp_path / f"train2d{index}.tif").rename(tmp_path / f"well{index}" / "dapi.tif")
        changes.append((f",train2d{index}.tif", f",well{index}/dapi.tif"))
    write_rows(manifest, *changes, *((f"embryo {index}", "") for index in range(4)), source="ours")
    done = distil(manifest, tmp_path / "run", "--validation", "0.99")
    assert done.exit_code == 0, done.output
    assert len(rows_of(tmp_path / "run")["validation_groups"]) == 3
    assert not any(str(tmp_path) in group for group in rows_of(tmp_path / "run")["validation_groups"])  # fmt: skip


def test_a_single_group_is_refused_with_what_makes_a_group(manifest, tmp_path):
    write_rows(manifest, *((f"embryo {index}", "well B4") for index in range(4)), source="ours")
    refused = distil(manifest, tmp_path / "run")
    assert refused.exit_code == 1
    assert "groups whose slices show nuclei: 1 (ours/well b4)" in refused.stderr
    assert "name the same embryo, organoid or well" in refused.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--patches", "0"),
        ("--patches", "-8"),
        ("--batch-size", "0"),
        ("--batch-size", "-1"),
        ("--learning-rate", "-1"),
        ("--learning-rate", "0"),
        ("--learning-rate", "nan"),
        ("--diameter", "0"),
        ("--default-diameter", "0"),
        ("--slice-step", "0"),
        ("--phantoms", "-3"),
        ("--threads", "0"),
        ("--threads", "-2"),
        ("--seed", "-1"),
    ],
)
@pytest.mark.parametrize("command", ["student", "teacher", "crossval"])
def test_impossible_numbers_are_refused_before_anything_is_written(
    manifest, tmp_path, command, option, value
):
    more = [] if command == "teacher" else ["--student", "v3"]
    refused = call(command, manifest, tmp_path / "run", *more, option, value)
    assert refused.exit_code == 2, refused.output
    assert option in refused.stderr or option[2:].replace("-", "_") in refused.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--validate-every", "--patience"])
def test_impossible_counts_of_a_course_are_refused(manifest, tmp_path, option):
    value = "0" if option == "--validate-every" else "-1"
    refused = distil(manifest, tmp_path / "run", option, value)
    assert refused.exit_code == 2
    assert option in refused.stderr


@pytest.mark.parametrize("arguments", [["-h"], ["--version"], ["student", "-h"]])
def test_help_and_version_are_told(arguments):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0
    assert ("fcp-distill, version" if "--version" in arguments else "Options:") in done.stdout


def test_rows_without_a_diameter_are_left_out_with_a_warning(manifest, tmp_path):
    write_rows(manifest, (",train3d3.tif,,3,17,", ",train3d3.tif,,3,,"))
    done = distil(manifest, tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "1 rows to learn from state no diameter_px and are left out" in done.stderr
    assert "--default-diameter" in done.stderr
    assert len(rows_of(tmp_path / "run")["images"]) == 3
    done = distil(manifest, tmp_path / "all", "--default-diameter", "17")
    assert "left out" not in done.stderr
    assert len(rows_of(tmp_path / "all")["images"]) == 4


def test_a_teacher_without_labels_to_learn_from_is_refused(manifest, tmp_path):
    changes = [(f"label_{split}{index}.tif", "") for index, split in enumerate(SPLITS[:3])]
    write_rows(manifest, *changes)
    refused = call("teacher", manifest, tmp_path / "run")
    assert refused.exit_code == 1
    assert "learns from labels alone, and none of the 4 rows" in refused.stderr


def test_incomplete_labels_change_nothing_of_what_is_taught(manifest, tmp_path):
    write_rows(manifest, *((f"embryo {index}", f"embryo {index} recall only") for index in range(4)))  # fmt: skip
    assert distil(manifest, tmp_path / "run", "--label-share", "1").exit_code == 0
    assert distil(manifest, tmp_path / "alone", "--label-share", "0").exit_code == 0
    one, two = (load_file(tmp_path / name / "student.safetensors") for name in ("run", "alone"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_specialist_is_made_of_what_its_start_was_made_of_too(manifest, tmp_path):
    shipped = shipped_checkpoint("v3")
    done = distil(manifest, tmp_path / "run", "--init", shipped, "--domain", "40x")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "run" / "student.json").read_text())
    assert record["training_data"] == ["bbbc050", "dsb2018", "lstree", "made", "tpecot_intestine", "phantom"]  # fmt: skip
    assert {"dsb2018: CC0", "made: "} <= set(record["licences"])
    digest = hashlib.sha256(shipped.read_bytes()).hexdigest()
    assert record["recipe"]["init"] == f"v3.safetensors ({digest[:16]})"
    # a third generation knows them all; weights of which nothing is known say so
    first = tmp_path / "run" / "student.safetensors"
    assert distil(manifest, tmp_path / "next", "--init", first).exit_code == 0
    data = json.loads((tmp_path / "next" / "student.json").read_text())["training_data"]
    assert data == [*sorted([*record["training_data"][:-1], "other"]), "phantom"]
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(first.read_bytes())
    assert distil(manifest, tmp_path / "bare", "--init", bare).exit_code == 0
    record = json.loads((tmp_path / "bare" / "student.json").read_text())
    assert "bare.safetensors: not stated" in record["training_data"]
    assert "bare.safetensors: not stated" in record["licences"]


def test_a_specialist_keeps_the_diameter_of_its_start(manifest, tmp_path):
    state = torch.load(manifest.with_name("teacher.pt"), weights_only=True)
    state["diam_mean"].fill_(30)
    torch.save(state, manifest.with_name("teacher.pt"))
    assert distil(manifest, tmp_path / "run", "--init", shipped_checkpoint("v3")).exit_code == 0
    student = load_file(tmp_path / "run" / "student.safetensors")
    assert student["diam_mean"].tolist() == student["diam_labels"].tolist() == [17.0]


def test_training_of_upsample_may_start_from_its_teacher(manifest, tmp_path):
    more = ["--student", "upsample", "--init", manifest.with_name("teacher.pt")]
    done = call("student", manifest, tmp_path / "run", *more)
    assert done.exit_code == 0, done.output


def change_teacher(manifest) -> None:
    state = torch.load(manifest.with_name("teacher.pt"), weights_only=True)
    state["output.2.bias"] += 1
    torch.save(state, manifest.with_name("teacher.pt"))


def change_image(manifest) -> None:
    image = manifest.with_name("train2d0.tif")
    tifffile.imwrite(image, tifffile.imread(image) + 1)


def change_init(manifest) -> None:
    state = load_file(manifest.with_name("init.safetensors"))
    state["output.2.pointwise.bias"] += 1
    save_file(state, manifest.with_name("init.safetensors"))


@pytest.mark.parametrize(
    ("change", "option"),
    [(change_teacher, "teacher"), (change_image, "manifest"), (change_init, "init")],
)
def test_a_run_does_not_go_on_with_something_else_of_the_same_name(
    manifest, tmp_path, change, option
):
    init = manifest.with_name("init.safetensors")
    init.write_bytes(shipped_checkpoint("v3").read_bytes())
    more = ["--init", init, "--domain", "40x"]
    assert distil(manifest, tmp_path / "run", *more).exit_code == 0
    assert distil(manifest, tmp_path / "run", *more, "--resume").exit_code == 0
    change(manifest)
    refused = distil(manifest, tmp_path / "run", *more, "--resume", "--patches", "3")
    assert refused.exit_code == 1
    assert f"its run was begun with another --{option};" in refused.stderr
    assert steps(tmp_path / "run") == [1, 2]


def _small_phantom(index, seed):
    made, diameter = make_phantom(index, seed)
    image, labels = (array[:, 60:84, 60:84] for array in (made.image, made.labels))
    return type(made)(image, labels, made.voxel_um), diameter


def test_a_teacher_learns_from_labelled_rows_and_is_saved_as_cellpose_loads_it(manifest, tmp_path):
    done = call("teacher", manifest, tmp_path / "run", "--diameter", "20", "--validate-every", "1")
    assert done.exit_code == 0, done.output
    names = [name.rsplit("/")[-1] for name in rows_of(tmp_path / "run")["images"]]
    assert names == ["train2d0.tif", "train2d1.tif", "train3d2.tif"]  # the fourth has no labels
    before = torch.load(manifest.with_name("teacher.pt"), weights_only=True)
    after = torch.load(tmp_path / "run" / "teacher.pt", weights_only=True)
    assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in before.items()}
    assert after["diam_mean"].item() == after["diam_labels"].item() == 20
    assert not torch.equal(after["output.2.weight"], before["output.2.weight"])
    load_cellpose(tmp_path / "run" / "teacher.pt")
    assert (tmp_path / "run" / "curves.png").exists()
    record = json.loads((tmp_path / "run" / "teacher.json").read_text())
    assert record["teacher"].startswith("labels; started from teacher.pt (")


def cross(manifest, folder, *more):
    return call(
        "crossval", manifest, folder, "--student", "v3", "--folds", "2",
        "--learning-rate", "1e-3", "--learning-rate", "3e-3", "--diameter", "17",
        "--diameter", "12", *more,
    )  # fmt: skip


def test_cross_validation_compares_configurations_on_folds_of_whole_groups(manifest, tmp_path):
    done = cross(manifest, tmp_path / "cv")
    assert done.exit_code == 0, done.output
    with (tmp_path / "cv" / "crossval.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [line["validation_iou_percent"] for line in table] == sorted(
        (line["validation_iou_percent"] for line in table), key=float, reverse=True
    )
    found = {(line["learning_rate"], line["diameter"]) for line in table}
    assert found == {("0.001", "17.0"), ("0.003", "17.0"), ("0.001", "12.0")}
    text = (tmp_path / "cv" / "crossval.md").read_text()
    assert text == done.output
    assert text.count("\n| 0.00") == 3
    place = tmp_path / "cv" / "rate0.001-batch1-diameter17"
    one, two = (set(rows_of(place / f"fold{n}")["validation_groups"]) for n in (1, 2))
    assert not one & two
    assert len(one | two) == 4
    scores = [
        100 * json.loads((place / f"fold{n}" / "log.jsonl").read_text())["validation_iou"]
        for n in (1, 2)
    ]
    line = next(
        line for line in table if (line["learning_rate"], line["diameter"]) == ("0.001", "17.0")
    )
    assert float(line["validation_iou_percent"]) == pytest.approx(np.mean(scores), abs=1e-3)
    assert float(line["iou_sd"]) == pytest.approx(np.std(scores, ddof=1), abs=1e-3)


def test_cross_validation_goes_on_where_it_stopped(manifest, tmp_path, monkeypatch):
    assert cross(manifest, tmp_path / "cv").exit_code == 0
    table = (tmp_path / "cv" / "crossval.csv").read_bytes()
    (tmp_path / "cv" / "crossval.csv").unlink()
    lost = tmp_path / "cv" / "rate0.003-batch1-diameter17" / "fold2"
    for file in lost.iterdir():
        file.unlink()
    trained = []
    train = loop.Run.train
    monkeypatch.setattr(
        loop.Run, "train", lambda run, *rest: trained.append(run.folder) or train(run, *rest)
    )
    assert cross(manifest, tmp_path / "cv").exit_code == 0
    assert trained == [lost]
    assert (tmp_path / "cv" / "crossval.csv").read_bytes() == table


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (None, ["--patches", "3"], "begun with --patches 2; give the same"),
        (None, ["--folds", "3"], "another --folds"),
        (change_teacher, [], "another --teacher"),
        (change_image, [], "another --manifest"),
    ],
)
def test_cross_validation_does_not_go_on_with_something_else(
    manifest, tmp_path, change, more, words
):
    assert cross(manifest, tmp_path / "cv").exit_code == 0
    if change:
        change(manifest)
    refused = cross(manifest, tmp_path / "cv", *more)
    assert refused.exit_code == (2 if "--patches" in more else 1), refused.output
    assert words in refused.stderr


def test_more_folds_than_groups_are_refused(manifest, tmp_path):
    refused = cross(manifest, tmp_path / "cv", "--folds", "5")
    assert refused.exit_code == 2
    assert "5 folds need as many groups of images, not 4" in refused.stderr
