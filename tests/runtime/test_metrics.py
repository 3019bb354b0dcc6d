"""Matching and scores, against dense twins and DAccuracy's recorded answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from fcp_runtime.errors import InputError
from fcp_runtime.evaluate.metrics import (
    THRESHOLDS,
    Counts,
    Scores,
    match,
    match_points,
    pool,
    score,
)

RECORDED = json.loads(
    (Path(__file__).parents[1] / "data" / "daccuracy.json").read_text(encoding="utf-8")
)["cases"]


def dense_iou(prediction, truth):
    """IoU of every predicted with every true object, by the definition."""
    rows = [prediction == label for label in np.unique(prediction[prediction > 0])]
    columns = [truth == label for label in np.unique(truth[truth > 0])]
    table = np.zeros((len(rows), len(columns)))
    for i, mine in enumerate(rows):
        for j, its in enumerate(columns):
            table[i, j] = np.count_nonzero(mine & its) / np.count_nonzero(mine | its)
    return table


def dense_tp(iou, threshold):
    """True positives as Cellpose and StarDist count them: assignment on the dense table."""
    if not iou.size:
        return 0
    cost = -(iou >= threshold).astype(float) - iou / (2 * min(iou.shape))
    chosen = linear_sum_assignment(cost)
    return int(np.count_nonzero(iou[chosen] >= threshold))


labels_pair = st.integers(0, 2**32 - 1).map(
    lambda seed: tuple(
        np.random.default_rng((seed, side)).integers(0, high, (seed % 3 + 1, 4, 5))
        for side, high in enumerate((2 + seed % 7, 2 + seed % 5))
    )
)
nudged_blocks = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(2, 5))


@settings(max_examples=60, deadline=None)
@given(labels_pair, st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.55, 0.75, 1.0]))
def test_counts_equal_the_dense_assignment(pair, threshold):
    prediction, truth = pair
    counts = match(prediction, truth).counts(threshold)
    iou = dense_iou(prediction, truth)
    tp = dense_tp(iou, threshold)
    assert counts == Counts(tp, iou.shape[0] - tp, iou.shape[1] - tp)


@settings(max_examples=40, deadline=None)
@given(nudged_blocks)
def test_counts_equal_the_dense_assignment_for_shifted_objects(shift):
    dy, dx, edge = shift
    y, x = np.mgrid[:20, :20]
    truth = np.where((y % 6 < 5) & (x % 6 < 5), 1 + y // 6 * 4 + x // 6, 0)
    prediction = np.roll(truth, (dy, dx), (0, 1)) * ((y % 6 < edge) | (x % 5 > 1))
    found = match(prediction, truth)
    iou = dense_iou(prediction, truth)
    for threshold in THRESHOLDS:
        assert found.counts(threshold).tp == dense_tp(iou, threshold)


@settings(max_examples=60, deadline=None)
@given(labels_pair)
def test_the_lenient_matching_has_the_largest_summed_overlap(pair):
    prediction, truth = pair
    pairs = match(prediction, truth).matches(None)
    iou = dense_iou(prediction, truth)
    rows = np.unique(prediction[prediction > 0])
    columns = np.unique(truth[truth > 0])
    chosen = iou[np.searchsorted(rows, pairs[:, 0]), np.searchsorted(columns, pairs[:, 1])]
    best = iou[linear_sum_assignment(iou, maximize=True)].sum() if iou.size else 0
    assert np.all(chosen > 0)
    assert chosen.sum() == pytest.approx(best)
    assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs)


@pytest.mark.parametrize("case", RECORDED)
def test_the_lenient_count_is_that_of_daccuracy(case):
    prediction = np.array(case["detection"])
    if "truth" in case:
        found = match(prediction, np.array(case["truth"]))
    else:
        found = match_points(prediction, np.array(case["centres"]))
    counts, says = found.counts(None), case["says"]
    assert (counts.tp, counts.fp, counts.fn) == (
        says["true_positive"],
        says["false_positive"],
        says["false_negative"],
    )
    assert (counts.precision, counts.recall, counts.f1) == pytest.approx(
        (says["precision"], says["recall"], says["f1_score"])
    )


def test_an_object_cut_exactly_in_halves_matches_once_at_one_half():
    truth = np.array([[1, 1, 1, 1, 0]])
    prediction = np.array([[3, 3, 7, 7, 0]])
    assert match(prediction, truth).counts(0.5) == Counts(1, 1, 0)
    assert match(truth, prediction).counts(0.5) == Counts(1, 0, 1)


def test_a_chain_of_halves_is_matched_as_often_as_possible():
    # IoU of exactly 0.5 from each object to its neighbour on either side
    truth = np.array([[1, 1, 2, 2, 2, 2, 0, 0]])
    prediction = np.array([[0, 1, 1, 1, 1, 0, 0, 0]])
    iou = dense_iou(prediction, truth)
    assert match(prediction, truth).counts(0.5).tp == dense_tp(iou, 0.5) == 1


@pytest.mark.parametrize("percent", range(50, 100, 5))
def test_an_overlap_equal_to_the_threshold_counts(percent):
    truth = np.ones((1, 100), int)
    prediction = (np.arange(100) < percent).astype(int)[None]
    found = match(prediction, truth)
    index = THRESHOLDS.index(percent / 100)
    assert [counts.tp for counts in score(found).at] == [1] * (index + 1) + [0] * (9 - index)


def test_nothing_against_nothing_is_perfect():
    nothing = np.zeros((3, 4, 5), np.uint16)
    scores = score(match(nothing, nothing))
    assert scores.mean_ap == scores.counts(0.5).f1 == scores.lenient.recall == 1.0


@pytest.mark.parametrize("swap", [False, True])
def test_nothing_against_something_is_zero(swap):
    nothing, something = np.zeros((4, 5), np.uint16), np.eye(4, 5, dtype=np.uint16)
    pair = (something, nothing) if swap else (nothing, something)
    scores = score(match(*pair))
    counts = scores.counts(0.5)
    assert scores.mean_ap == counts.f1 == counts.precision == counts.recall == 0.0
    assert (counts.fp, counts.fn) == ((1, 0) if swap else (0, 1))


def test_pooling_adds_counts_over_images():
    one = Scores((Counts(1, 2, 3),) * 10, Counts(4, 0, 0))
    two = Scores((Counts(10, 0, 1),) * 10, Counts(1, 1, 1))
    both = pool([one, two])
    assert both.counts(0.75) == Counts(11, 2, 4)
    assert both.lenient == Counts(5, 1, 1)
    assert pool([]).mean_ap == 1.0


def test_score_values_follow_their_definitions():
    counts = Counts(tp=6, fp=2, fn=4)
    assert counts.precision == 6 / 8
    assert counts.recall == 6 / 10
    assert counts.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert counts.ap == 6 / 12
    scores = Scores(tuple(Counts(tp, 10 - tp, 0) for tp in range(10)))
    assert scores.mean_ap == pytest.approx(0.45)


def test_labels_may_have_gaps_types_and_large_values():
    truth = np.zeros((2, 6, 6), np.uint32)
    truth[0, :3, :3] = 2**32 - 1
    truth[1, 4:, 4:] = 5
    prediction = np.where(truth == 5, 250, 0).astype(np.uint8)
    found = match(prediction, truth)
    assert found.matches(0.5).tolist() == [[250, 5]]
    assert found.truth.tolist() == [5, 2**32 - 1]
    assert found.truth_size.tolist() == [4, 9]
    assert found.counts(0.9) == Counts(1, 0, 1)


def test_small_fragments_are_ignored_with_the_predictions_that_fit_them():
    truth = np.zeros((20, 20), np.uint16)
    truth[:10, :10] = 1
    truth[12:14, 12:14] = 2  # a fragment
    truth[17:19, 1:3] = 3  # a fragment that nobody finds
    prediction = np.zeros_like(truth)
    prediction[:10, :9] = 4
    prediction[12:14, 12:15] = 5  # fits the fragment
    prediction[16, 16] = 6  # fits nothing
    found = match(prediction, truth)
    assert found.counts(0.5) == Counts(2, 1, 1)
    kept = found.without_fragments(10)
    assert kept.counts(0.5) == Counts(1, 1, 0)
    assert kept.counts(None) == Counts(1, 1, 0)
    assert kept.matches(0.5).tolist() == [[4, 1]]
    assert found.without_fragments(0).counts(0.5) == found.counts(0.5)


def test_a_prediction_that_fits_a_kept_object_better_stays():
    truth = np.array([[1] * 8 + [2] * 2])
    prediction = np.array([[0] * 2 + [1] * 8])
    kept = match(prediction, truth).without_fragments(5)
    assert kept.counts(0.5) == Counts(1, 0, 0)


def test_one_prediction_answers_for_one_centre_only():
    prediction = np.zeros((3, 8, 8), np.uint16)
    prediction[1, :4, :4] = 9
    points = np.array([[1, 0, 0], [1, 3.4, 2.6], [0, 0, 0], [1, 7, 7]])
    assert match_points(prediction, points).counts(None) == Counts(1, 0, 3)
    assert match_points(prediction, np.zeros((0, 3))).counts(None) == Counts(0, 1, 0)


@pytest.mark.parametrize("point", [(0, 8.0), (-1.0, 2), (3.6, 2)])
def test_a_centre_outside_is_named(point):
    with pytest.raises(InputError, match=r"centre 2 .* outside"):
        match_points(np.ones((4, 8), int), np.array([(1, 1), point]))


@pytest.mark.parametrize(
    ("prediction", "truth", "word"),
    [
        (np.zeros((3, 4), int), np.zeros((4, 3), int), "shape"),
        (np.zeros((3, 4)), np.zeros((3, 4), int), "prediction.*float64"),
        (np.zeros((3, 4), int), np.full((3, 4), -1), "negative"),
        (np.full((3, 4), 2**32), np.zeros((3, 4), int), "4294967295"),
        (np.zeros(4, int), np.zeros(4, int), "int64 with 1"),
    ],
)
def test_what_is_no_label_image_is_refused(prediction, truth, word):
    with pytest.raises(InputError, match=word):
        match(prediction, truth)
