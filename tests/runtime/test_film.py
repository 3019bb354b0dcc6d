"""A film: one diameter and one range for all frames, each segmented as it would be alone."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fcp_runtime import FcpWarning, InputError, Segmenter, SettingsError
from fcp_runtime.cli.run import main
from fcp_runtime.film import ArrayFilm, film_levels, resolve_film, segment_film, spread
from fcp_runtime.phantom import dividing_film, nuclei_image, organoid

DIAMETER = 22


@pytest.fixture(scope="module")
def film():
    return dividing_film(6, (128, 128), nuclei=7, divisions=1, seed=2)


@pytest.fixture(scope="module")
def stacks():
    """Return a film of stacks: an organoid that moves."""
    phantom = organoid((10, 56, 56), phenotype="compact", diameter=18, anisotropy=2.0, seed=1)
    return np.stack([np.roll(phantom.image, 2 * frame, axis=2) for frame in range(3)])


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter()


def save(path, pixels, **metadata):
    axes = "TYX" if pixels.ndim == 3 else "TZYX"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes, "finterval": 30} | metadata)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", ["images", "stacks"])
@pytest.mark.parametrize("levels_per_frame", [False, True])
def test_a_frame_is_the_same_alone(film, stacks, segmenter, kind, levels_per_frame):
    pixels = film.image if kind == "images" else stacks
    options = {} if kind == "images" else {"anisotropy": 2.0}
    found = list(segment_film(pixels, segmenter, levels_per_frame=levels_per_frame, **options))
    assert len(found) == len(pixels)
    for frame, result in zip(pixels, found, strict=True):
        settings = result.settings
        assert (settings.levels is None) == levels_per_frame
        alone = segmenter.segment(
            frame, diameter=settings.diameter, levels=settings.levels, **options
        )
        assert result.count > 0
        np.testing.assert_array_equal(result.masks, alone.masks)


def test_all_frames_have_one_diameter_estimated_on_several(film, segmenter):
    diameters = {result.settings.diameter for result in segment_film(film.image, segmenter)}
    assert len(diameters) == 1
    assert 0.8 * DIAMETER < diameters.pop() < 1.2 * DIAMETER
    halves = np.concatenate([np.full((4, 128, 128), 300, np.uint16), film.image])
    resolved = resolve_film(ArrayFilm(halves), segmenter, {})
    assert 0.8 * DIAMETER < resolved["diameter"] < 1.2 * DIAMETER  # though the first are empty


def test_the_range_of_a_film_is_that_of_its_frames_taken_together(film, segmenter):
    fading = np.stack([frame * (1 - 0.1 * n) for n, frame in enumerate(film.image)])
    fading = fading.astype(np.uint16)
    common = film_levels(ArrayFilm(fading), (1, 99), segmenter.workers)
    expected = np.percentile(fading, (1, 99))
    assert (common.low, common.high) == pytest.approx(tuple(expected))


def test_a_dark_frame_is_not_brightened_to_noise(segmenter):
    image = nuclei_image((128, 128), diameter=DIAMETER, seed=1).image
    rng = np.random.default_rng(0)
    noise = rng.normal(np.percentile(image, 1), 60, image.shape).clip(0, 65535).astype(np.uint16)
    found = list(segment_film(np.stack([image, noise]), segmenter, diameter=DIAMETER))
    assert found[0].count > 5
    assert found[1].count == 0


def test_a_film_without_signal_has_empty_masks(segmenter):
    with pytest.warns(FcpWarning, match="no signal"):
        found = list(segment_film(np.zeros((2, 64, 64), np.uint8), segmenter))
    assert [result.count for result in found] == [0, 0]


@pytest.mark.parametrize("shape", [(64, 64), (2, 2, 2, 8, 8), (0, 64, 64)])
def test_what_is_no_film_is_refused(segmenter, shape):
    with pytest.raises(InputError, match="film"):
        list(segment_film(np.ones(shape, np.uint8), segmenter))


def test_impossible_options_are_refused(film, segmenter):
    with pytest.raises(SettingsError, match="diameter"):
        next(segment_film(film.image, segmenter, diameter=-1))


@pytest.mark.parametrize(("count", "most"), [(50, 5), (33, 32), (4, 5), (1, 5)])
def test_frames_that_are_looked_at_are_different_and_spread(count, most):
    chosen = spread(count, most)
    assert len(set(chosen)) == min(count, most)
    assert 0 <= min(chosen) <= max(chosen) < count
    assert max(np.diff([-1, *chosen, count])) <= 2 * count / min(count, most)


def test_a_command_segments_a_film(tmp_path, film):
    save(tmp_path / "film.tif", film.image, unit="um", spacing=1.0)
    done = run(
        *(tmp_path / "film.tif", "-o", tmp_path / "masks.tif", "--diameter", DIAMETER),
        *("--table", tmp_path / "cells.csv", "--tracks", tmp_path / "tracks.csv"),
        *("--ctc", tmp_path / "01_RES", "--json"),
    )
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["frames"] == 6
    assert summary["shape"] == [6, 128, 128]
    with tifffile.TiffFile(tmp_path / "masks.tif") as tif:
        assert tif.series[0].axes == "TYX"
        assert tif.imagej_metadata["finterval"] == 30
        masks = tif.asarray()
    table = np.genfromtxt(tmp_path / "cells.csv", delimiter=",", names=True)
    pairs = {(int(row["frame"]), int(row["label"])) for row in table}
    assert pairs == {
        (frame, label) for frame in range(6) for label in np.unique(masks[frame]) if label
    }
    assert summary["objects"] == len(table)
    tracks = np.loadtxt(tmp_path / "tracks.csv", delimiter=",", skiprows=1, dtype=int)
    assert summary["tracks"] == len(tracks)
    assert (tracks[:, 3] > 0).sum() == 2  # the division
    for frame in range(6):
        np.testing.assert_array_equal(
            tifffile.imread(tmp_path / "01_RES" / f"mask{frame:03d}.tif"), masks[frame]
        )
    again = run(
        tmp_path / "film.tif",
        "-o",
        tmp_path / "masks.tif",
        "--diameter",
        DIAMETER,
        "--ctc",
        tmp_path / "01_RES",
    )
    assert again.exit_code == 0, again.output


def test_without_track_labels_are_those_of_each_frame(tmp_path, film, segmenter):
    save(tmp_path / "film.tif", film.image)
    done = run(tmp_path / "film.tif", "-o", tmp_path / "masks.tif")
    assert done.exit_code == 0, done.output
    expected = np.stack([result.masks for result in segment_film(film.image, segmenter)])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "masks.tif"), expected)


def test_a_film_of_stacks_keeps_its_axes_and_doubts_its_spacing_once(tmp_path, stacks):
    save(tmp_path / "film.tif", stacks)
    done = run(tmp_path / "film.tif", "-o", tmp_path / "masks.ome.tif", "--diameter", 18, "--track")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("spacing of planes unknown") == 1
    with tifffile.TiffFile(tmp_path / "masks.ome.tif") as tif:
        assert tif.series[0].axes == "TZYX"
        assert tif.series[0].shape == stacks.shape


def test_every_channel_of_a_film_is_measured(tmp_path, film):
    both = np.stack([film.image, film.image // 2], axis=1)
    metadata = {"axes": "TCYX", "finterval": 30}
    tifffile.imwrite(tmp_path / "film.tif", both, imagej=True, metadata=metadata)
    done = run(
        *(tmp_path / "film.tif", "-o", tmp_path / "masks.tif", "--channel", 0),
        *("--diameter", DIAMETER, "--table", tmp_path / "cells.csv"),
    )
    assert done.exit_code == 0, done.output
    table = np.genfromtxt(tmp_path / "cells.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["mean_intensity"], 2 * table["mean_channel1"], rtol=0.001)


@pytest.mark.parametrize(
    ("flag", "name"), [("--graph", "a.graphml"), ("--report", "a.html"), ("--preview", "a.png")]
)
def test_outputs_of_one_image_are_refused_for_a_film(tmp_path, film, flag, name):
    save(tmp_path / "film.tif", film.image)
    done = run(tmp_path / "film.tif", "-o", tmp_path / "masks.tif", flag, tmp_path / name)
    assert done.exit_code == 1
    assert "is a film" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["film.tif"]


def test_outputs_of_films_are_refused_for_an_image(tmp_path, film):
    tifffile.imwrite(tmp_path / "image.tif", film.image[0])
    done = run(tmp_path / "image.tif", "-o", tmp_path / "masks.tif", "--tracks", tmp_path / "a.csv")
    assert done.exit_code == 1
    assert "--axes TYX" in done.stderr


def test_a_folder_with_other_files_is_not_replaced_by_tracks(tmp_path, film):
    save(tmp_path / "film.tif", film.image)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear")
    done = run(tmp_path / "film.tif", "-o", tmp_path / "masks.tif", "--ctc", tmp_path / "mine")
    assert done.exit_code == 1
    assert "notes.txt" in done.stderr
    assert (tmp_path / "mine" / "notes.txt").read_text() == "dear"


def test_a_failure_in_the_last_frame_leaves_nothing(tmp_path, film):
    broken = film.image.astype(np.float32)
    broken[-1, 5, 5] = np.nan
    tifffile.imwrite(tmp_path / "film.tif", broken, metadata={"axes": "TYX"})
    done = run(
        *(tmp_path / "film.tif", "-o", tmp_path / "masks.tif", "--diameter", DIAMETER),
        *("--ctc", tmp_path / "01_RES", "--tracks", tmp_path / "tracks.csv"),
        *("--axes", "TYX", "--levels", 300, 20000),
    )
    assert done.exit_code == 1
    assert "frame 5" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["film.tif"]


def test_pages_without_metadata_are_planes_unless_said_otherwise(tmp_path, film):
    tifffile.imwrite(tmp_path / "pages.tif", film.image)
    done = run(
        *(tmp_path / "pages.tif", "-o", tmp_path / "masks.tif", "--axes", "TYX"),
        *("--diameter", DIAMETER),
    )
    assert done.exit_code == 0, done.output
    with tifffile.TiffFile(tmp_path / "masks.tif") as tif:
        assert tif.series[0].axes == "TYX"


def test_a_stack_of_unknown_spacing_might_be_a_film_and_that_is_said(film, segmenter):
    with pytest.warns(FcpWarning, match="--axes TYX"):
        segmenter.segment(film.image, diameter=DIAMETER)


def test_a_film_in_memory_of_known_spacing_says_nothing(stacks, segmenter):
    film = ArrayFilm(stacks, voxel_um=(1.0, 0.5, 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(found.count for found in segment_film(film, segmenter, diameter=18))
