"""A training run: rules of its schedule, resuming, and what it leaves behind."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from safetensors.torch import load_file
from test_patches import disc, targets

from fcp_export.architectures.networks import SPECS
from fcp_export.data import patches
from fcp_export.data.augmentation import PLAIN, Augmentation
from fcp_export.data.patches import Batch, Sampler
from fcp_export.data.rows import DataSettings
from fcp_export.distill import loop
from fcp_export.distill.loop import TEACHER, Run
from fcp_export.distill.pipeline import starting_net
from fcp_export.distill.settings import DistillSettings, learning_rate, stop_early
from fcp_export.export import read_checkpoint
from fcp_export.teacher import load_cellpose
from fcp_runtime.errors import FcpWarning, InputError, SettingsError
from fcp_runtime.machine.workers import silent

SETTINGS = DistillSettings("v3", patches=12, batch_size=2, validate_every=2, patience=0, seed=4)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Small patches and few of them: what is tested does not depend on either."""
    monkeypatch.setattr(patches, "PATCH_EDGES", (24, 32))
    monkeypatch.setattr(loop, "VALIDATION_BATCHES", 2)


@pytest.fixture
def samplers():
    source = [targets(*disc((60, 64), (30.0, 33.0), 12.0))]
    return Sampler(source, Augmentation(), 2), Sampler(source, PLAIN, 2)


def start(folder, settings=SETTINGS, *, resume=False) -> Run:
    return Run(folder, settings, starting_net(settings, None), resume=resume)


def records(folder) -> list[dict]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def interrupt_at(step):
    def progress(stage, done, total):
        if done == step:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("step", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, samplers, step):
    start(tmp_path / "whole").train(*samplers, silent)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "parts").train(*samplers, interrupt_at(step))
    assert not (tmp_path / "parts" / "student.safetensors").exists()
    run = start(tmp_path / "parts", resume=True)
    assert run.step == step
    run.train(*samplers, silent)
    whole, parts = (load_file(tmp_path / n / "student.safetensors") for n in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(parts[name], value) for name, value in whole.items())
    assert [r["validation_iou"] for r in records(tmp_path / "whole")] == [
        r["validation_iou"] for r in records(tmp_path / "parts")
    ]


def test_training_learns_and_logs(tmp_path, samplers):
    settings = replace(SETTINGS, patches=160, validate_every=40, average=0.9, learning_rate=1e-2)
    net = start(tmp_path, settings).train(*samplers, silent)
    log = records(tmp_path)
    assert [entry["step"] for entry in log] == [40, 80]
    assert [entry["patches"] for entry in log] == [80, 160]
    assert log[1]["validation_loss"] < 0.9 * log[0]["validation_loss"]
    assert log[1]["train_loss"] < 0.9 * log[0]["train_loss"]
    student = load_file(tmp_path / "student.safetensors")
    assert student["diam_mean"].tolist() == [17.0]
    assert torch.equal(student["output.2.pointwise.bias"], net.output[2].pointwise.bias)
    assert json.loads((tmp_path / "settings.json").read_text())["student"] == "v3"


def test_the_same_seed_gives_the_same_student(tmp_path, samplers):
    one, two, other = (
        start(tmp_path / name, replace(SETTINGS, patches=4, seed=seed)).train(*samplers, silent)
        for name, seed in (("one", 4), ("two", 4), ("other", 5))
    )
    name = "output.2.pointwise.weight"
    assert torch.equal(one.state_dict()[name], two.state_dict()[name])
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])


def test_a_run_is_not_overwritten_and_keeps_its_settings(tmp_path, samplers):
    start(tmp_path).train(*samplers, silent)
    with pytest.raises(InputError, match="holds a run already; add --resume"):
        start(tmp_path)
    with pytest.raises(InputError, match="its run has another learning_rate, seed"):
        start(tmp_path, replace(SETTINGS, learning_rate=1e-3, seed=1), resume=True)


def test_a_run_may_be_prolonged(tmp_path, samplers):
    start(tmp_path).train(*samplers, silent)
    run = start(tmp_path, replace(SETTINGS, patches=20), resume=True)
    assert run.step == 6
    run.train(*samplers, silent)
    assert records(tmp_path)[-1]["step"] == 10


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_step_whose_gradient_is_not_finite_is_left_out(tmp_path, value):
    run = start(tmp_path)
    before = {name: v.clone() for name, v in run.net.named_parameters()}
    images = torch.rand(2, 2, 16, 16)
    maps = torch.zeros(2, 3, 16, 16)
    maps[0, 0, 3, 3] = value
    assert math.isnan(run._learn(Batch(images, maps, torch.ones(2, 1, 16, 16))))
    assert run.skipped == 1
    assert all(torch.equal(v, before[name]) for name, v in run.net.named_parameters())
    assert not run.optimizer.state
    loss = run._learn(Batch(images, torch.zeros(2, 3, 16, 16), torch.ones(2, 1, 16, 16)))
    assert math.isfinite(loss)
    assert run.skipped == 1


def test_skipped_steps_are_counted_in_the_log(tmp_path, samplers):
    class Broken(Sampler):
        def batch(self, rng):
            batch = super().batch(rng)
            batch.maps[:, 0, 0, 0] = math.inf
            batch.inside[:, 0, 0, 0] = 1
            return batch

    train = Broken(samplers[0].targets, Augmentation(), 2)
    settings = replace(SETTINGS, patches=4)
    with pytest.warns(RuntimeWarning, match="empty slice"):  # no step had a loss
        start(tmp_path, settings).train(train, samplers[1], silent)
    assert records(tmp_path)[-1]["skipped_steps"] == 2


def test_bfloat16_training_stays_finite(tmp_path, samplers):
    net = start(tmp_path, replace(SETTINGS, bfloat16=True)).train(*samplers, silent)
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


@pytest.mark.parametrize(
    ("scores", "patience", "stop"),
    [
        ([], 3, False),
        ([0.5], 3, False),
        ([0.1, 0.9, 0.84], 3, True),  # fell by more than 5 points
        ([0.1, 0.9, 0.86], 3, False),
        ([0.9, 0.86, 0.87, 0.88], 3, True),  # three validations without a better one
        ([0.9, 0.86, 0.87], 3, False),
        ([0.9, 0.9005, 0.9008, 0.9009], 3, True),  # a tenth of a point is no progress
        ([0.9, 0.9005, 0.9008, 0.912], 3, False),
        ([0.8, 0.9, 0.9, 0.9], 3, False),  # one of the three was better
        ([0.8, 0.9, 0.9, 0.9, 0.9], 3, True),
        ([0.9, 0.1], 0, False),  # never
    ],
)
def test_training_stops_after_a_fall_or_stagnation(scores, patience, stop):
    assert stop_early(scores, patience) is stop


def test_a_stagnant_run_stops_and_leaves_a_student(tmp_path, samplers, monkeypatch):
    settings = replace(SETTINGS, patches=100, patience=2)
    monkeypatch.setattr(
        Run, "_validate", lambda *_: {"validation_loss": 1.0, "validation_iou": 0.5}
    )
    start(tmp_path, settings).train(*samplers, silent)
    assert [entry["step"] for entry in records(tmp_path)] == [2, 4, 6]
    assert (tmp_path / "student.safetensors").exists()


def validate_as(monkeypatch, ious) -> list[dict]:
    """Make validations give these IoUs; return a list of the averaged weights at each."""
    left, seen = iter(ious), []

    def validate(run, _):
        seen.append({name: value.clone() for name, value in run.average.state_dict().items()})
        return {"validation_loss": 1.0, "validation_iou": next(left)}

    monkeypatch.setattr(Run, "_validate", validate)
    return seen


def equal(one, two) -> bool:
    return all(torch.equal(one[name], value) for name, value in two.items())


EARLY = replace(SETTINGS, patches=100, patience=3, average=0.5)


def test_after_an_early_stop_the_best_validated_weights_are_the_result(
    tmp_path, samplers, monkeypatch
):
    seen = validate_as(monkeypatch, [0.8, 0.9, 0.88, 0.4])
    run = start(tmp_path, EARLY)
    net = run.train(*samplers, silent)
    assert run.step == 8
    written = load_file(tmp_path / "student.safetensors")
    assert [equal(written, weights) for weights in seen] == [False, True, False, False]
    assert equal(net.state_dict(), written)
    run.write_provenance({"recipe": {}})
    recipe = json.loads((tmp_path / "student.json").read_text())["recipe"]
    assert recipe == {"steps_done": 8, "step_taken": 4}


def test_a_run_to_the_end_of_its_schedule_takes_the_last_weights(tmp_path, samplers, monkeypatch):
    seen = validate_as(monkeypatch, [0.8, 0.9, 0.4])
    start(tmp_path, replace(EARLY, patches=12, patience=0)).train(*samplers, silent)
    written = load_file(tmp_path / "student.safetensors")
    assert [equal(written, weights) for weights in seen] == [False, False, True]


def test_a_run_that_stopped_early_goes_on_only_for_more_patches(tmp_path, samplers, monkeypatch):
    validate_as(monkeypatch, [0.8, 0.9, 0.4])
    start(tmp_path, EARLY).train(*samplers, silent)
    before = (tmp_path / "student.safetensors").read_bytes()
    again = start(tmp_path, EARLY, resume=True)
    with pytest.warns(FcpWarning, match="stopped early after step 6; a larger --patches"):
        again.train(*samplers, silent)
    assert again.step == 6
    assert (tmp_path / "student.safetensors").read_bytes() == before
    seen = validate_as(monkeypatch, [0.5, 0.7, 0.6, 0.65])
    longer = start(tmp_path, replace(EARLY, patches=104), resume=True)
    longer.train(*samplers, silent)
    assert longer.step == 6 + 6  # judged anew: it stopped after another fall
    assert (tmp_path / "student.safetensors").read_bytes() == before  # 0.9 is still the best
    assert len(seen) == 3


def test_a_finished_run_is_not_trained_on(tmp_path, samplers):
    start(tmp_path).train(*samplers, silent)
    before = (tmp_path / "student.safetensors").read_bytes()
    run = start(tmp_path, resume=True)
    run.train(*samplers, silent)
    assert run.step == 6
    assert (tmp_path / "student.safetensors").read_bytes() == before


def test_training_does_not_stop_early_unless_asked():
    assert DistillSettings("v3").patience == 0


def test_a_run_goes_on_only_with_what_it_was_begun_with(tmp_path, samplers):
    run = start(tmp_path)
    run.made_from(teacher="a", manifest="b")
    run.train(*samplers, silent)
    again = start(tmp_path, resume=True)
    again.made_from(teacher="a", manifest="b")
    with pytest.raises(InputError, match="its run was begun with another --manifest;"):
        again.made_from(teacher="a", manifest="c")


def test_a_run_of_before_origins_were_kept_goes_on(tmp_path, samplers):
    start(tmp_path).train(*samplers, silent)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for name in ("best", "origin"):
        del state[name]
    torch.save(state, tmp_path / "checkpoint.pt")
    run = start(tmp_path, replace(SETTINGS, patches=16), resume=True)
    run.made_from(teacher="a")
    run.train(*samplers, silent)
    with pytest.raises(InputError, match="another --teacher"):
        start(tmp_path, replace(SETTINGS, patches=16), resume=True).made_from(teacher="b")


def test_a_run_that_goes_on_with_other_validation_groups_says_so(tmp_path, samplers):
    run = start(tmp_path)
    run.write_rows({"image": ["digest"]}, {"one"})
    run.train(*samplers, silent)
    run.write_rows({"image": ["digest"]}, {"one"})
    with pytest.warns(FcpWarning, match="until step 6 other groups were kept"):
        run.write_rows({"image": ["digest"]}, {"two"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patches", 0),
        ("batch_size", -1),
        ("learning_rate", -1.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("average", 1.0),
        ("validate_every", 0),
        ("patience", -1),
        ("seed", -1),
    ],
)
def test_impossible_settings_of_a_run_are_named(name, value):
    with pytest.raises(SettingsError, match=f"{name} is {value}; it must be"):
        replace(SETTINGS, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phantoms", -3),
        ("phantom_seed", -1),
        ("slice_step", 0),
        ("default_diameter", 0.0),
        ("label_share", 1.5),
        ("validation", 1.0),
        ("diameter", 0.0),
    ],
)
def test_impossible_settings_of_data_are_named(name, value):
    with pytest.raises(SettingsError, match=f"{name} is {value}; it must be"):
        DataSettings(**{name: value})


@pytest.mark.parametrize("key", [key for key in SPECS if key != TEACHER])
def test_every_student_can_be_read_again(tmp_path, samplers, key, monkeypatch):
    monkeypatch.setattr(patches, "PATCH_EDGES", (32,))  # of a size that every network takes
    run = start(tmp_path, replace(SETTINGS, student=key, patches=2))
    average = run.train(*samplers, silent)
    net, _ = read_checkpoint(run.result, key)
    for name, value in average.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=0, atol=0)


def test_a_constant_learning_rate_stays_after_its_warm_up():
    settings = DistillSettings("v3", patches=8000, learning_rate=1e-3, schedule="constant")
    rates = [learning_rate(settings, step) for step in (99, 199, 500, 999)]
    assert rates == pytest.approx([0.5e-3, 1e-3, 1e-3, 1e-3])


def test_the_learning_rate_warms_up_and_falls_to_zero():
    settings = DistillSettings("v3", patches=8000, batch_size=8, learning_rate=2e-3)
    rates = [learning_rate(settings, step) for step in range(settings.steps + 1)]
    assert rates[0] == pytest.approx(2e-3 / 200, rel=1e-3)
    assert np.argmax(rates) == 199
    assert rates[500] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert (np.diff(rates[200:]) < 0).all()


def test_a_run_leaves_its_course_as_a_table_and_a_picture(tmp_path, samplers):
    start(tmp_path).train(*samplers, silent)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].startswith("step,patches,train_loss,validation_loss,validation_iou")
    assert [line.split(",")[:2] for line in lines[1:]] == [["2", "4"], ["4", "8"], ["6", "12"]]
    picture = imread(tmp_path / "curves.png")
    assert picture.shape[1] > 800
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20


def test_an_interrupted_run_leaves_its_curves_too(tmp_path, samplers):
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path).train(*samplers, interrupt_at(3))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_a_checkpoint_from_before_a_setting_existed_goes_on(tmp_path, samplers):
    start(tmp_path).train(*samplers, silent)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for name in ("data", "init"):
        del state["settings"][name]
    torch.save(state, tmp_path / "checkpoint.pt")
    data = DataSettings(slice_step=3, default_diameter=30.0, phantoms=2)
    run = start(tmp_path, replace(SETTINGS, patches=16, data=data), resume=True)
    run.train(*samplers, silent)
    assert records(tmp_path)[-1]["step"] == 8
    with pytest.raises(InputError, match="its run has another phantoms;"):
        start(tmp_path, replace(SETTINGS, data=replace(data, phantoms=3)), resume=True)


def test_a_run_of_cellposes_network_leaves_a_checkpoint_in_its_format(tmp_path, samplers):
    settings = replace(SETTINGS, student="cellpose", patches=2)
    net = start(tmp_path, settings).train(*samplers, silent)
    assert not (tmp_path / "student.safetensors").exists()
    again = load_cellpose(tmp_path / "teacher.pt").state_dict()
    assert all(torch.equal(again[name], value) for name, value in net.state_dict().items())
