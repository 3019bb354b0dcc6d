"""Objects keep one number through time, whatever their labels in each frame."""

from __future__ import annotations

import contextlib
import io
from itertools import permutations

import numpy as np
import pytest
import tifffile

from fcp_runtime import FcpError, OutputError
from fcp_runtime.phantom import dividing_film
from fcp_runtime.tracks import Linking, Tracker
from fcp_runtime.tracks.files import ctc_mask, write_ctc_mask, write_ctc_tracks, write_tracks
from fcp_runtime.tracks.link import find_spots, link_frames


@pytest.fixture(scope="module")
def film():
    return dividing_film(16, (192, 192), nuclei=14, divisions=4, speed=0.15, seed=3)


def shuffled(frames, seed=0):
    """Return frames whose labels are numbered 1..n in another order each."""
    rng = np.random.default_rng(seed)
    for frame in frames:
        present = np.unique(frame[frame > 0])
        table = np.zeros(int(frame.max()) + 1, np.uint16)
        table[present] = 1 + rng.permutation(len(present))
        yield table[frame]


def discs(centres, radius=5, shape=(64, 64)):
    """Return labels 1, 2, ... of discs."""
    rows, columns = np.indices(shape)
    labels = np.zeros(shape, np.uint16)
    for number, (y, x) in enumerate(centres, start=1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = number
    return labels


def link(before, after, **how):
    spots = find_spots(before), find_spots(after)
    links = link_frames(before, after, spots, Linking(**how))
    moved = {int(spots[0].labels[one]): int(spots[1].labels[other]) for one, other in links.moved}
    return moved, links.divided


def pair_cost(before, after, spots, pair, reach):
    mine, other = (
        frame == found.labels[row]
        for frame, found, row in zip((before, after), spots, pair, strict=True)
    )
    overlap = (mine & other).sum() / (mine | other).sum()
    far = np.linalg.norm(spots[0].centres[pair[0]] - spots[1].centres[pair[1]]) / reach
    return min(far, 1) + 1 - overlap if far < 1 or overlap > 0 else np.inf


def write_ctc(folder, frames, tracks):
    folder.mkdir(parents=True)
    for frame, labels in enumerate(frames):
        write_ctc_mask(ctc_mask(folder, frame, len(frames)), labels)
    write_ctc_tracks(folder, tracks)


def test_tracks_of_true_masks_are_the_true_tracks(film):
    tracker = Tracker()
    found = np.stack([tracker.follow(frame) for frame in shuffled(film.tracks)])
    pairs = np.unique(np.stack((film.tracks.ravel(), found.ravel())), axis=1)
    true_to_found = dict(pairs.T.tolist())
    assert len(true_to_found) == pairs.shape[1]  # one number each
    assert len(set(pairs[1].tolist())) == pairs.shape[1]
    tracks = tracker.tracks
    expected = {
        (true_to_found[track], begin, end, true_to_found.get(parent, 0))
        for track, begin, end, parent in film.lineage.tolist()
    }
    rows = (tracks.track, tracks.begin, tracks.end, tracks.parent)
    assert set(zip(*(column.tolist() for column in rows), strict=True)) == expected
    assert (film.lineage[:, 3] > 0).sum() == 8


def test_an_independent_library_gives_full_marks_to_true_masks(film, tmp_path):
    metrics = pytest.importorskip("ctc_metrics")
    truth = tmp_path / "01_GT" / "TRA"
    truth.mkdir(parents=True)
    for frame, labels in enumerate(film.tracks):
        write_ctc_mask(truth / f"man_track{frame:03d}.tif", labels)
    np.savetxt(truth / "man_track.txt", film.lineage, fmt="%d")
    tracker = Tracker()
    found = [tracker.follow(frame) for frame in shuffled(film.tracks)]
    write_ctc(tmp_path / "01_RES", found, tracker.tracks)
    with contextlib.redirect_stdout(io.StringIO()):
        scores = metrics.evaluate_sequence(
            str(tmp_path / "01_RES"),
            str(tmp_path / "01_GT"),
            threads=1,
            metrics=["Valid", "TRA", "LNK", "CT", "BC"],
        )
    assert scores["Valid"] == 1
    for name in ("TRA", "LNK", "CT", "BC(0)"):
        assert scores[name] == 1, name


def test_the_links_of_a_frame_cost_least_together():
    rng = np.random.default_rng(1)
    for _ in range(20):
        old = rng.uniform(10, 54, (5, 2))
        new = old + rng.normal(0, 6, (5, 2))
        before, after = discs(old, 4), discs(new, 4)
        spots = find_spots(before), find_spots(after)
        reach = 12.0
        pairs = link_frames(before, after, spots, Linking(reach=reach, divisions=False)).moved

        rows, columns = len(spots[0].labels), len(spots[1].labels)
        table = np.full((rows + columns, rows + columns), np.inf)
        for one in range(rows):
            for other in range(columns):
                table[one, other] = pair_cost(before, after, spots, (one, other), reach)
        table[np.arange(rows), columns + np.arange(rows)] = 1
        table[rows + np.arange(columns), np.arange(columns)] = 1
        found = sum(table[one, other] for one, other in pairs)
        found += rows + columns - 2 * len(pairs)
        best = min(
            sum(min(table[one, other], 2) for one, other in zip(range(rows), choice, strict=False))
            + max(0, columns - rows)
            + max(0, rows - columns)
            for choice in permutations(range(columns), min(rows, columns))
        )
        assert found <= best + 1e-9


def test_an_object_that_moves_less_than_its_reach_keeps_its_number_without_overlap():
    before, after = discs([(20, 20)]), discs([(20, 33)])
    assert not (before.astype(bool) & after.astype(bool)).any()
    assert link(before, after, reach=14.0)[0] == {1: 1}
    assert link(before, after, reach=10.0)[0] == {}


def test_overlap_outweighs_a_nearer_centre_elsewhere():
    before = np.zeros((40, 40), np.uint16)
    before[10:14, 5:35] = 1  # long
    after = np.zeros_like(before)
    after[10:14, 12:40] = 1
    after[16:20, 18:22] = 2  # beside its middle
    assert link(before, after)[0] == {1: 1}


def test_planes_count_as_far_apart_as_they_are():
    before = np.zeros((5, 9, 9), np.uint16)
    after = before.copy()
    before[0, 3:6, 3:6], after[3, 3:6, 3:6] = 1, 1
    spots = [find_spots(frame, 4.0) for frame in (before, after)]
    far = Linking(reach=10.0, anisotropy=4.0)
    near = Linking(reach=14.0, anisotropy=4.0)
    assert len(link_frames(before, after, tuple(spots), far).moved) == 0
    assert len(link_frames(before, after, tuple(spots), near).moved) == 1


def test_a_division_ends_the_mother_and_begins_two_tracks():
    tracker = Tracker()
    tracker.follow(discs([(32, 32), (10, 10)], 8))
    tracker.follow(discs([(32, 26), (32, 38), (10, 10)], 5))
    assert tracker.tracks.parent.tolist() == [0, 0, 1, 1]
    assert tracker.tracks.end.tolist() == [0, 1, 1, 1]
    alone = Tracker(Linking(divisions=False))
    alone.follow(discs([(32, 32), (10, 10)], 8))
    alone.follow(discs([(32, 26), (32, 38), (10, 10)], 5))
    assert alone.tracks.parent.tolist() == [0, 0, 0]


def test_a_newcomer_beside_an_unchanged_object_is_no_daughter():
    tracker = Tracker()
    tracker.follow(discs([(32, 32)], 8))
    tracker.follow(discs([(32, 32), (32, 50)], 8))
    assert tracker.tracks.parent.tolist() == [0, 0]


def test_empty_frames_end_all_tracks():
    tracker = Tracker()
    for frame in (discs([(32, 32)]), np.zeros((64, 64), np.uint16), discs([(32, 32)])):
        tracker.follow(frame)
    assert tracker.tracks.begin.tolist() == [0, 2]
    assert tracker.tracks.end.tolist() == [0, 2]


def test_a_frame_of_another_shape_is_refused():
    tracker = Tracker()
    tracker.follow(discs([(32, 32)]))
    with pytest.raises(FcpError, match="shape"):
        tracker.follow(discs([(32, 32)], shape=(64, 65)))


@pytest.mark.parametrize("how", [{"reach": 0.0}, {"reach": -1.0}, {"anisotropy": 0.0}])
def test_impossible_settings_are_refused(how):
    with pytest.raises(FcpError):
        Linking(**how)


def test_tables_and_masks_are_what_they_say(tmp_path, film):
    tracker = Tracker()
    found = [tracker.follow(frame) for frame in film.tracks]
    write_tracks(tmp_path / "tracks.csv", tracker.tracks)
    write_ctc(tmp_path / "ctc", found, tracker.tracks)
    table = np.loadtxt(tmp_path / "tracks.csv", delimiter=",", skiprows=1, dtype=int)
    lines = np.loadtxt(tmp_path / "ctc" / "res_track.txt", dtype=int)
    np.testing.assert_array_equal(table, lines)
    mask = tifffile.imread(tmp_path / "ctc" / "mask005.tif")
    assert mask.dtype == np.uint16
    np.testing.assert_array_equal(mask, found[5])
    for track, begin, end, _ in table.tolist():
        present = [frame for frame, labels in enumerate(found) if (labels == track).any()]
        assert present == list(range(begin, end + 1))


def test_a_ctc_mask_of_a_stack_has_a_page_a_plane(tmp_path):
    labels = np.zeros((3, 8, 8), np.uint32)
    labels[1, 2:4, 2:4] = 7
    write_ctc_mask(tmp_path / "mask000.tif", labels)
    with tifffile.TiffFile(tmp_path / "mask000.tif") as tif:
        assert len(tif.pages) == 3
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask000.tif"), labels)


def test_too_many_tracks_for_ctc_are_an_error(tmp_path):
    with pytest.raises(OutputError, match="65535"):
        write_ctc_mask(tmp_path / "mask000.tif", np.array([[2**16]], np.uint32))
    assert not list(tmp_path.iterdir())


def test_the_film_of_a_seed_is_always_the_same(film):
    again = dividing_film(16, (192, 192), nuclei=14, divisions=4, speed=0.15, seed=3)
    np.testing.assert_array_equal(again.image, film.image)
    np.testing.assert_array_equal(again.tracks, film.tracks)
    for track, begin, end, _ in film.lineage.tolist():
        present = [frame for frame, labels in enumerate(film.tracks) if (labels == track).any()]
        assert present == list(range(begin, end + 1))


def test_a_film_without_room_is_refused():
    with pytest.raises(FcpError, match="room"):
        dividing_film(4, (32, 32), nuclei=20)
