"""The pure parts of the speed benchmark: what is planned, fitted, tabled and kept."""

from __future__ import annotations

import csv
import json
import threading

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.speed import extrapolation, tables
from benchmarks.speed.__main__ import main
from benchmarks.speed.fits import fit_cost, medians, residuals
from benchmarks.speed.network import CountingNetwork, bare_rate, mix, model_facts
from benchmarks.speed.plan import TEACHER, plan
from benchmarks.speed.presets import PRESETS, SECTIONS
from benchmarks.speed.report import shown, write_report
from benchmarks.speed.sampler import Sampler, place_of, stage_of, waits
from benchmarks.speed.scenes import Scene, choose_window
from benchmarks.speed.store import Measurement, Store
from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import Network


def planned(preset, **changes):
    given = {"models": ["v3"], "model": "v3", "threads": 2, "teacher": True} | changes
    return plan(PRESETS[preset], **given)


def stage_result(**changes):
    seconds = {"start": 2.0, "read": 1.0, "intensity": 0.5, "network": 20.0, "masks": 6.0}
    return {
        "seconds": seconds | {"write": 0.5},
        "total": 31.0,
        "peak_memory": 2**31,
        "objects": 30,
        "voxels": 62_000_000,
        "foreground": 7_000_000,
        "output_pixels": 300_000_000,
        "tiles": {"256x256": 10},
        "tile_pixels": 400_000_000,
        "call_share": 0.9,
        "model": {"key": "v3", "parameters": 116_693, "macs_per_pixel": 4741.0},
        "bare": 25e6,
        "matrix": 200e9,
        "f1": 0.9,
        "ap50": 0.8,
        "mean_ap": 0.6,
    } | changes


@pytest.mark.parametrize("preset", PRESETS)
def test_every_measurement_has_a_key_of_its_own(preset):
    keys = [(item.section, item.key) for item in planned(preset)]
    assert len(set(keys)) == len(keys)


def test_a_full_plan_holds_every_section_and_every_size_asked_for():
    items = planned("full")
    assert {item.section for item in items} == set(SECTIONS)
    grown = [Scene.from_dict(i.arguments["scene"]) for i in items if i.section == "growth"]
    assert {scene.shape[0] for scene in grown} == {64, 128, 237}
    assert {scene.shape[2] for scene in grown} == {512, 1024, 1536, 2048}
    assert {scene.foreground for scene in grown} == {0.02, 0.05, 0.12, 0.25, 0.4}
    thesis = [Scene.from_dict(i.arguments["scene"]) for i in items if i.section == "thesis"]
    assert {(s.phenotype, s.anisotropy) for s in thesis} == {
        ("cystic", 1.0), ("compact", 1.0), ("cystic", 2.0), ("cystic", 4.0),
    }  # fmt: skip
    assert {scene.shape for scene in thesis} == {(237, 1024, 1024)}


def test_without_a_teacher_nothing_asks_for_cellpose():
    items = planned("full", teacher=False)
    assert all(item.task != "cellpose" for item in items)
    assert all(item.arguments.get("model") != TEACHER for item in items)


def test_repeats_come_round_after_round():
    rounds = [item.repeat for item in planned("full") if item.section == "students"]
    assert rounds == sorted(rounds)
    assert set(rounds) == {0, 1, 2}


def test_planes_scale_in_proportion():
    preset = PRESETS["full"].scaled(0.25, 118)
    assert (preset.planes, preset.width) == (118, 256)
    assert preset.grow_planes == (32, 64, 118)
    assert preset.crop == (32, 128, 128)


def test_a_result_is_kept_and_found_by_what_was_asked(tmp_path):
    store = Store(tmp_path)
    asked = Measurement("growth", "a stack, 2 threads", "stages", {"threads": 2})
    other = Measurement("growth", "a stack, 2 threads", "stages", {"threads": 1})
    store.save(asked, {"total": 1.5})
    assert store.load(asked) == {"total": 1.5}
    assert store.load(other) is None
    assert Store(tmp_path).load(asked) == {"total": 1.5}  # from the file
    assert store.gather([asked, other]) == {"growth": {"a stack, 2 threads": [{"total": 1.5}]}}


def test_the_fit_finds_the_cost_that_made_the_points():
    pixels = np.array([1e8, 2e8, 4e8, 1e8, 1e8])
    voxels = np.array([1e6, 2e6, 5e6, 9e6, 3e7])
    points = list(zip(pixels, voxels, 6e-8 * pixels + 2e-7 * voxels + 1.5, strict=True))
    cost = fit_cost(points)
    assert (cost.pixel, cost.voxel, cost.start) == pytest.approx((6e-8, 2e-7, 1.5))
    assert residuals(cost, points) == pytest.approx([0] * 5, abs=1e-9)


def test_no_part_of_the_cost_is_negative():
    points = [(1e8, 3e7, 5.0), (2e8, 2e7, 11.0), (3e8, 1e7, 18.0), (4e8, 1e6, 24.0)]
    cost = fit_cost(points)
    assert min(cost.pixel, cost.voxel, cost.start) >= 0


def test_medians_reach_into_dictionaries_and_rows():
    results = [
        {"name": "x", "seconds": {"a": value}, "rows": [{"s": value}, {"s": 0}], "none": None}
        for value in (3.0, 1.0, 2.0)
    ]
    assert medians(results) == {
        "name": "x", "seconds": {"a": 2.0}, "rows": [{"s": 2.0}, {"s": 0}], "none": None,
    }  # fmt: skip


def test_a_window_has_the_wanted_share_of_foreground():
    inside = np.zeros((8, 32, 32), bool)
    inside[:, 16:, :8] = True  # half of one window, nothing or all elsewhere
    window = choose_window(inside, (8, 16, 16), 0.5)
    assert inside[window].shape == (8, 16, 16)
    assert inside[window].mean() == 0.5
    assert inside[choose_window(inside, (99, 99, 99), 0.5)].shape == inside.shape


def test_tiles_are_mixed_in_their_proportions():
    order = mix({(8, 8): 30, (8, 16): 10}, 8)
    assert order.count((8, 16)) == 2
    assert len(order) == 8


def test_tiles_are_counted_and_their_output_is_unchanged():
    plain = Network(load_model("v3"))
    counting = CountingNetwork(plain)
    tile = np.random.default_rng(0).random((1, 1, 64, 72), np.float32)
    np.testing.assert_array_equal(counting(tile), plain(tile))
    counting(tile)
    assert counting.calls == {(64, 72): 2}
    assert counting.pixels == 2 * 64 * 72
    assert counting.seconds > 0


def test_the_bare_loop_does_pixels():
    plane = np.random.default_rng(0).integers(0, 999, (40, 40)).astype(np.uint16)
    assert bare_rate("v3", {(64, 64): 1, (64, 72): 2}, plane, 1, 0.05) > 0


def test_facts_of_a_file_come_from_the_manifest_beside_it(tmp_path):
    entry = {"file": "mine.onnx", "parameters": 5, "macs_1024": 2**20}
    (tmp_path / "manifest.json").write_text(json.dumps({"models": {"v9": entry}}))
    facts = model_facts(str(tmp_path / "mine.onnx"))
    assert facts == {"key": "v9", "parameters": 5, "macs_per_pixel": 1.0}
    assert model_facts(str(tmp_path / "other.onnx"))["parameters"] is None
    assert model_facts("v3")["parameters"] == 116_693


def test_the_sampler_tells_stage_and_waiting():
    import sys

    def labels_from_paths():
        return sys._getframe()

    frame = labels_from_paths()
    assert stage_of(frame) == "masks"
    assert stage_of(frame.f_back) == "other"
    assert not waits(frame)
    assert place_of(frame)[0] == __name__
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    assert waits(sys._current_frames()[thread.ident])
    waiting.set()
    thread.join()


def test_the_sampler_sees_work():
    sampler = Sampler()
    sampler.start()
    while not sampler.table():
        sum(range(1000))
    sampler.stop()
    assert {row["stage"] for row in sampler.table()} == {"other"}


def test_the_start_is_what_the_stages_leave():
    seconds = tables.stage_seconds(stage_result())
    assert seconds["start"] == pytest.approx(31 - 28)
    assert sum(seconds.values()) == pytest.approx(31)


def test_aims_compare_what_was_measured():
    sections = {
        "thesis": {"fcp-run, cystic": [stage_result()], "cystic": [stage_result()]},
        "beside": {
            "Cellpose 3.1.1.2, torch, default": [stage_result(seconds={"eval": 4000.0})],
            "Cellpose 3.1.1.2, torch, channels_last": [stage_result(seconds={"eval": 2650.0})],
            "Cellpose's network, our runtime": [
                stage_result(seconds={"intensity": 0.0, "network": 200.0, "masks": 12.0})
            ],
            "v3, our runtime": [stage_result()],
        },
    }
    found = {aim.what: (aim.value, aim.met) for aim in extrapolation.aims(sections)}
    assert found["compressed TIFF to compressed mask TIFF, s"] == (31.0, True)
    assert found["network stage, share of the bare loop's pixel rate"] == (0.8, False)
    best = "Mvoxel/s of Cellpose 3.1.1.2, torch, channels_last, times"
    assert found[f"{best}, same crop, segmentation"] == (100.0, True)
    assert found[f"{best}, whole stack end to end"][0] == pytest.approx(2650 / 31)
    assert found["Cellpose's network through our runtime, times"] == (8.0, False)


def test_thread_aims_are_those_of_the_first_stack():
    two = stage_result(seconds={"network": 10.0, "masks": 4.0})
    threads = {
        "whole, 1 threads": [stage_result()],
        "whole, 2 threads": [two],
        "crop, 1 threads": [stage_result()],
        "crop, 2 threads": [stage_result()],
    }
    found = extrapolation.aims({"threads": threads})
    assert [(aim.value, aim.met) for aim in found] == [(2.0, True), (1.5, False)]


def test_the_next_factor_adds_up():
    thesis = {"fcp-run, cystic": [stage_result()], "cystic": [stage_result()]}
    rows = {row[0]: row[1:] for row in extrapolation.next_factor(thesis).rows}
    assert rows["masks took no time"] == (6.0, 25.0, 31 / 25)
    assert rows["the network stage ran at the bare loop's rate"][0] == pytest.approx(20 - 16)
    assert rows["no tiles overlapped"][0] == pytest.approx(5)
    floor = 400e6 * 4741 / 200e9
    assert rows["the network ran at the matrix product's rate"][0] == pytest.approx(20 - floor)


@pytest.mark.slow
def test_a_report_holds_tables_and_files(tmp_path):
    pytest.importorskip("matplotlib")
    sizes = {
        f"stack {n}, {threads} threads": [
            stage_result(tile_pixels=n * 1e8, foreground=n**2 * 1e6, total=n * 3.0 / threads + 2)
        ]
        for threads in (1, 2)
        for n in (1, 2, 3, 5)
    }
    looked = [
        {"stage": "network", "where": "", "code": "", "seconds": 2.0},
        {"stage": "network", "where": "network.session.__call__", "code": "a | b", "seconds": 4.0},
    ]
    way = {"seconds": 1.0, "objects": 3, "f1": 0.9, "ap50": 0.8, "mean_ap": 0.5}
    ways = [{"factor": f, "niter": n} | way for f, n in ((1, 295), (1, 200), (2, 200))]
    sections = {
        "thesis": {"fcp-run, cystic": [stage_result()], "cystic": [stage_result()]},
        "threads": {"s, 1 threads": [stage_result()], "s, 2 threads": [stage_result()]},
        "growth": sizes,
        "beside": {
            "Cellpose 3.1.1.2, torch, default": [stage_result(seconds={"eval": 4000.0})],
            "v3, our runtime": [stage_result()],
        },
        "students": {"v3": [stage_result()]},
        "masks": {"ways": [{"rows": ways}]},
        "savings": {"default": [stage_result()]},
        "profile": {"cystic": [{"profile": looked}]},
    }
    report = write_report(tmp_path, sections, "made up", {"abc"})
    text = report.read_text()
    for name in ("stages", "growth", "beside", "students", "masks", "profile"):
        assert f"![{name}]({name}.png)" in text
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    with (tmp_path / "stacks.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["total s"]) == 31
    assert row["stack"] == "cystic"
    assert "a \\| b" in text


def test_numbers_are_shown_with_three_figures():
    cells = (None, 1234, 0.01234, 0.12345, 1.2345, 12.345, 1234.5, "x")
    assert [shown(cell) for cell in cells] == [
        "",
        "1,234",
        "0.012",
        "0.123",
        "1.23",
        "12.3",
        "1,234",
        "x",
    ]


def test_what_is_measured_is_not_measured_again(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from benchmarks.speed import __main__ as command

    measured = []

    class Runner(command.Runner):
        def warm_up(self, model):
            measured.append(model)

        def measure(self, task, arguments):
            measured.append(task)
            return stage_result()

    monkeypatch.setattr(command, "Runner", Runner)
    words = ["-o", str(tmp_path), "--quick", "--only", "threads"]
    for _ in range(2):
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert measured == ["v3", *["stages"] * 4]
    assert "## Threads" in (tmp_path / "report.md").read_text()
