"""What a run leaves on disk, however it ends; see docs/reliability.md."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fcp_runtime.cli.evaluate import check_places, file_names
from fcp_runtime.cli.jobs import Job, clear_old
from fcp_runtime.cli.run import main
from fcp_runtime.errors import OutputError, SettingsError
from fcp_runtime.io.atomic import sweep
from fcp_runtime.io.axes import channel_number

posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")
OUTPUTS = {
    "table": "csv",
    "graph": "graphml",
    "rois": "zip",
    "preview": "png",
    "report": "html",
}
SETTINGS = ("--diameter", "20", "--no-augment", "--threads", "1")


@pytest.fixture
def image(tmp_path):
    y, x = np.mgrid[:96, :96] % 32 - 16
    pixels = np.random.default_rng(0).poisson(100 + 900.0 * (y**2 + x**2 < 90))
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, pixels.astype(np.uint16))
    return path


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def command(image, folder):
    """Return a run with six outputs."""
    outputs = [f"--{kind}={folder / f'out.{suffix}'}" for kind, suffix in OUTPUTS.items()]
    code = "from fcp_runtime.cli.run import main; main()"
    return [sys.executable, "-c", code, image, "-o", folder / "out.tif", *outputs]


@posix
def test_a_run_told_to_end_clears_up_and_says_how_far_it_came(image, tmp_path):
    """SIGTERM is what schedulers and containers send."""
    summary = tmp_path / "summary.csv"
    code = (
        "import os, signal\n"
        "from fcp_runtime.cli.run import main\n"
        "from fcp_runtime.segmenter import Segmenter\n"
        "Segmenter.segment = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)\n"
        "main()"
    )
    words = [image, "-o", tmp_path / "m.tif", "--summary", summary, *SETTINGS]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path.parent,
    )
    assert (done.returncode, done.stderr) == (143, "fcp-run: told to end\n")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["image.tif", "summary.csv"]


@posix
def test_a_library_that_makes_a_failure_of_the_end_changes_nothing(image, tmp_path):
    """As an import does that is interrupted in a compiled module."""
    code = (
        "import os, signal\n"
        "from fcp_runtime.cli.run import main\n"
        "from fcp_runtime.segmenter import Segmenter\n"
        "def segment(*_, **__):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except BaseException:\n"
        "        raise ImportError('interrupted') from None\n"
        "Segmenter.segment = segment\n"
        "main()"
    )
    words = [image, "-o", tmp_path / "m.tif", *SETTINGS]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path.parent,
    )
    assert (done.returncode, done.stderr) == (143, "fcp-run: told to end\n")


@pytest.mark.parametrize("words", [("", "-o", "m.tif"), ("a.tif", "-o", "")])
def test_an_empty_path_is_not_the_present_folder(words):
    done = run(*words)
    assert done.exit_code == 2
    assert "a path is empty" in done.output


@posix
def test_a_pipe_is_refused_as_output_before_the_work(image, tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    done = run(image, "-o", tmp_path / "pipe.tif", *SETTINGS)
    assert done.exit_code == 2
    assert "pipe.tif: is a device or a pipe" in done.output


def test_outputs_of_other_settings_go_before_new_ones_come(tmp_path):
    mask, table, graph = (tmp_path / name for name in ("m.tif", "t.csv", "g.graphml"))
    for file in (mask, table):
        file.write_bytes(b"old")
    job = Job(tmp_path / "a.tif", mask, {"table": (table,), "graph": (graph,)})
    clear_old(job)
    assert mask.exists()  # replaced as a whole, by the first that is written
    assert not table.exists()
    assert not job.done


def test_what_a_killed_run_left_is_removed_when_it_is_ours_and_old(tmp_path):
    names = {
        ".fcp-0123abcd.ome.tif": True,
        ".fcp-0123abcd": True,
        ".fcp-0123abcd.tif~": False,
        ".fcp-notes.tif": False,
        "fcp-0123abcd.tif": False,
    }
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, time.time() - 2 * 24 * 3600))
    (tmp_path / ".fcp-ffffffff.tif").touch()  # of a run that goes on
    removed = sweep(tmp_path)
    assert {file.name for file in removed} == {name for name, ours in names.items() if ours}
    assert len(list(tmp_path.iterdir())) == 4
    assert sweep(tmp_path / "missing") == []


def test_masks_of_an_evaluation_stay_in_their_folder(tmp_path):
    rows = [
        SimpleNamespace(source=source, image=Path("a/b.tif"), label=None)
        for source in ("../out", "/elsewhere/x", "x/../../y", "plain")
    ]
    for name in file_names(rows):
        assert (tmp_path / f"{name}_masks.tif").resolve().parent == tmp_path.resolve()
    assert file_names(rows)[3] == "plain_b"


def test_an_evaluation_replaces_no_file_of_its_manifest(tmp_path):
    row = SimpleNamespace(source="s", image=tmp_path / "a.tif", label=tmp_path / "s_a_masks.tif")
    check_places([row], ["s_a"], tmp_path / "elsewhere", tmp_path)
    with pytest.raises(OutputError, match=r"s_a_masks\.tif: is an image or a label"):
        check_places([row], ["s_a"], tmp_path, None)


@pytest.mark.parametrize("channel", [0.5, True, 1.0, b"DAPI"])
def test_a_channel_that_is_no_number_is_refused(channel):
    with pytest.raises(SettingsError, match="channel must be a whole number or a name"):
        channel_number(channel, (), "a.tif")


@posix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_ended_at_any_moment_and_begun_again_is_whole(image, tmp_path, number):
    """20 moments each; the outputs that a rerun accepts as done are those of one setting."""
    whole, folder = tmp_path / "whole", tmp_path / "out"
    for place in (whole, folder):
        place.mkdir()
    began = time.monotonic()
    subprocess.run([*command(image, whole), *SETTINGS], capture_output=True, check=True)
    lasts = time.monotonic() - began
    other = [*command(image, folder), *SETTINGS, "--cellprob-threshold", "-3"]
    again = [*command(image, folder), *SETTINGS, "--skip-existing", "--json"]
    for moment in np.linspace(0.3, 1.0, 20):
        subprocess.run(other, capture_output=True, check=True)  # what an earlier run left
        killed = subprocess.Popen(
            [*command(image, folder), *SETTINGS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(moment * lasts)
        killed.send_signal(number)
        killed.communicate()
        assert killed.returncode in {0, -signal.SIGKILL, 143, -signal.SIGTERM}
        if number == signal.SIGTERM:
            assert not list(folder.glob(".fcp-*"))
        done = subprocess.run(again, capture_output=True, check=True, text=True)
        untouched = json.loads(done.stdout).get("skipped", False)
        with tifffile.TiffFile(folder / "out.tif") as tif:
            settings = tif.imagej_metadata["Info"]
        if not (untouched and '"cellprob_threshold": -3' in settings):
            for suffix in ("tif", "csv", "graphml", "zip"):
                name = f"out.{suffix}"
                assert (folder / name).read_bytes() == (whole / name).read_bytes(), (moment, name)
