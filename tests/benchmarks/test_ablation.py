"""The ablation leaves one choice out at a time and scores on train rows kept for validation."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict

import pytest
import tifffile
from click.testing import CliRunner

from fcp_runtime.evaluate.metrics import match, score
from fcp_runtime.phantom import nuclei_image
from fcp_runtime.segmenter import Segmenter

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from benchmarks.ablation import ALL, CHOICES, main  # noqa: E402 - what it needs is here
from fcp_export.architectures.networks import build  # noqa: E402
from fcp_export.data import patches  # noqa: E402
from fcp_export.data.rows import DataSettings  # noqa: E402
from fcp_export.distill import loop  # noqa: E402
from fcp_export.distill.settings import DistillSettings  # noqa: E402

HEADER = "split,source,image,label,ndim,diameter_px,voxel_um_zyx\n"


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(patches, "PATCH_EDGES", (24, 32))
    monkeypatch.setattr(loop, "VALIDATION_BATCHES", 1)
    lines = []
    for number, split in enumerate(("train2d", "train2d", "dev2d")):
        made = nuclei_image((64, 64), diameter=17, seed=number)
        tifffile.imwrite(tmp_path / f"i{number}.tif", made.image)
        tifffile.imwrite(tmp_path / f"l{number}.tif", made.labels)
        lines.append(f"{split},made,i{number}.tif,l{number}.tif,2,17,")
    (tmp_path / "manifest.csv").write_text(HEADER + "\n".join(lines) + "\n")
    torch.manual_seed(0)
    net = build("cellpose")
    net.output[2].bias.data[2] = 30  # it sees a nucleus everywhere
    torch.save(net.state_dict(), tmp_path / "teacher.pt")
    return tmp_path / "manifest.csv"


def call(manifest, *more, presented=8):
    arguments = [
        "--manifest", manifest, "--teacher", manifest.with_name("teacher.pt"), "--phantoms", 0, "--threads", 1,
        "--patches", presented, "--validation", 0.5, "-o", manifest.with_name("out"), *more,
    ]  # fmt: skip
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def overlap(folder) -> float:
    """Return the last validation IoU of a run."""
    return json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["validation_iou"]


@pytest.mark.slow
def test_the_table_holds_the_scores_of_each_student_on_the_rows_kept_back(manifest):
    done = call(manifest, "--choice", ALL, "--choice", "labels alone", presented=1600)
    assert done.exit_code == 0, done.output
    out = manifest.with_name("out")
    with (out / "ablation.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [line["choice"] for line in table] == [ALL, "labels alone"]
    for line, folder in zip(table, ("all-of-it", "labels-alone"), strict=True):
        (held,) = json.loads((out / folder / "rows.json").read_text())["validation_groups"]
        number = held.rsplit("/i")[-1].removesuffix(".tif")
        assert number in ("0", "1")  # not the dev row
        image, truth = (tifffile.imread(manifest.with_name(f"{a}{number}.tif")) for a in "il")
        masks = Segmenter(str(out / folder / "student.onnx")).segment(image, diameter=17.0).masks
        scores = score(match(masks, truth))
        assert float(line["made (2-D) F1"]) == pytest.approx(scores.counts(0.5).f1, abs=1e-4)
        assert float(line["made (2-D) mean AP"]) == pytest.approx(scores.mean_ap, abs=1e-4)
    # the teacher sees a nucleus everywhere: labels by themselves make_targets more
    assert overlap(out / "labels-alone") > overlap(out / "all-of-it")
    assert (out / "ablation.md").read_text() == done.output


@pytest.mark.slow
def test_what_is_trained_already_is_not_trained_again(manifest, monkeypatch):
    assert call(manifest, "--choice", ALL).exit_code == 0
    table = manifest.with_name("out") / "ablation.csv"
    before = table.read_bytes()
    table.unlink()
    monkeypatch.delattr(loop.Run, "train")
    assert call(manifest, "--choice", ALL).exit_code == 0
    assert table.read_bytes() == before


@pytest.mark.slow
def test_other_settings_are_not_shown_over_old_results(manifest):
    assert call(manifest, "--choice", ALL).exit_code == 0
    refused = call(manifest, "--choice", ALL, "--label-share", 0.24)
    assert refused.exit_code == 2
    assert "all-of-it: holds a student of other settings" in refused.output


def flat(settings: dict, head: str = "") -> dict:
    found = {}
    for name, value in settings.items():
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {head + name: value}
    return found


def test_every_choice_changes_something_and_most_a_single_thing():
    base = DistillSettings("v3", data=DataSettings(phantoms=9, label_share=0.75))
    changes = {
        choice: {
            name
            for name, value in flat(asdict(change(base))).items()
            if value != flat(asdict(base))[name]
        }
        for choice, change in CHOICES.items()
    }
    assert changes.pop(ALL) == set()
    assert changes.pop("the thesis's recipe") == {
        "target", "schedule", "average", "data.label_share", "data.phantoms",
    }  # fmt: skip
    plain = changes.pop("patches only turned and mirrored")
    assert plain
    assert all(name.startswith("augmentation.") for name in plain)
    assert all(len(names) == 1 for names in changes.values())


def test_an_unknown_choice_is_refused_with_those_there_are(manifest):
    refused = call(manifest, "--choice", "magic")
    assert refused.exit_code == 2
    assert "there are: all of it" in refused.output
