"""Paired differences of models against sums written out, and intervals against known cases."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy.bootstrap import paired_difference
from fcp_runtime.evaluate.metrics import Counts, Scores, pool


def scores(tp: int, fp: int, fn: int) -> Scores:
    """At higher thresholds fewer and fewer match."""
    at = [Counts(max(tp - k, 0), fp + min(k, tp), fn + min(k, tp)) for k in range(10)]
    return Scores(tuple(at), Counts(tp, fp, fn))


def random_scores(rng: np.random.Generator, count: int) -> list[Scores]:
    return [scores(*(int(n) for n in rng.integers(0, 30, 3))) for _ in range(count)]


def test_the_value_is_the_difference_of_pooled_scores():
    rng = np.random.default_rng(0)
    first, second = random_scores(rng, 12), random_scores(rng, 12)
    found = paired_difference(first, second, [str(n) for n in range(12)], draws=50)
    mine, its = pool(first), pool(second)
    assert found.f1.value == pytest.approx(mine.counts(0.5).f1 - its.counts(0.5).f1)
    assert found.ap.value == pytest.approx(mine.mean_ap - its.mean_ap)
    assert (found.images, found.groups) == (12, 12)


def test_draws_equal_those_of_a_plain_loop():
    rng = np.random.default_rng(1)
    first, second = random_scores(rng, 6), random_scores(rng, 6)
    groups = ["a", "a", "b", "b", "b", "c"]
    found = paired_difference(first, second, groups, draws=400, seed=3)
    weights = np.random.default_rng(3).multinomial(3, np.full(3, 1 / 3), size=400)
    values = []
    for draw in weights:
        chosen = [n for n in range(6) for _ in range(draw["abc".index(groups[n])])]
        mine, its = (pool(all_[n] for n in chosen) for all_ in (first, second))
        values.append(mine.counts(0.5).f1 - its.counts(0.5).f1)
    low, high = np.percentile(values, (2.5, 97.5))
    assert (found.f1.low, found.f1.high) == pytest.approx((low, high))


def test_equal_models_have_an_interval_of_no_width():
    same = random_scores(np.random.default_rng(2), 8)
    found = paired_difference(same, same, [str(n) for n in range(8)], draws=100)
    assert (found.f1.low, found.f1.value, found.f1.high) == (0, 0, 0)
    assert found.not_worse
    assert not found.better


def test_images_of_one_group_are_no_independent_evidence():
    rng = np.random.default_rng(4)
    pairs = [(scores(20, 2, 5), scores(18, 2, 7)), (scores(10, 5, 9), scores(14, 5, 5))]
    first, second = zip(*(pairs[int(n)] for n in rng.integers(0, 2, 40)), strict=True)
    alone = paired_difference(first, second, [str(n) for n in range(40)], draws=500)
    together = paired_difference(first, second, [str(n // 10) for n in range(40)], draws=500)
    one = paired_difference(first, second, ["film"] * 40, draws=500)
    assert alone.f1.value == together.f1.value == one.f1.value
    assert one.f1.low == one.f1.value == one.f1.high
    assert one.groups == 1


@pytest.mark.parametrize(("lost", "holds"), [(0, True), (1, True), (4, False)])
def test_not_worse_allows_one_point_of_f1(lost, holds):
    teacher = [scores(180, 10, 10)] * 30
    student = [scores(180 - lost, 10, 10 + lost)] * 30
    found = paired_difference(student, teacher, [str(n) for n in range(30)], draws=100)
    assert found.f1.value == pytest.approx(2 * (180 - lost) / (380 - lost) - 360 / 380)
    assert found.not_worse is holds


def test_images_with_nothing_to_find_score_one():
    nothing = [Scores()] * 3
    found = paired_difference(nothing, nothing, list("abc"), draws=10)
    assert found.f1.value == 0
    wrong = [scores(0, 4, 0)] * 3
    assert paired_difference(nothing, wrong, list("abc"), draws=10).f1.value == 1
