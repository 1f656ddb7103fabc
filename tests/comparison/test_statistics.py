"""The tests against scipy's, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fmlab.comparison import holm, rank
from fmlab.comparison.statistics import spread


def test_a_pair_of_groups_is_scipys_paired_test() -> None:
    generator = np.random.default_rng(0)
    for n in (5, 7, 20):
        values = generator.normal(size=(2, n)) + generator.normal(size=n)
        ranking = rank(values, "less")
        other = 1 - ranking.best
        test = ranking.tests[other]
        expected = stats.ttest_rel(values[other], values[ranking.best])
        interval = expected.confidence_interval(0.95)
        assert test.p == pytest.approx(expected.pvalue, rel=1e-10)
        assert (test.low, test.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
        assert test.difference == pytest.approx(values[other].mean() - values[ranking.best].mean())
        assert ranking.family == 1


def test_several_groups_are_a_family_of_all_pairs() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(4, 8)) + np.arange(4)[:, None]
    ranking = rank(values, "less")
    assert ranking.best == int(values.mean(1).argmin())
    assert ranking.family == 6
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    p = [stats.ttest_rel(values[a], values[b]).pvalue for a, b in pairs]
    adjusted = dict(zip(pairs, holm(p)))
    for group, test in enumerate(ranking.tests):
        if group != ranking.best:
            assert test.p == pytest.approx(adjusted[tuple(sorted((group, ranking.best)))])
            interval = stats.ttest_rel(values[group], values[ranking.best]).confidence_interval(1 - 0.05 / 6)
            assert (test.low, test.high) == pytest.approx((interval.low, interval.high))


def test_holm_rejects_step_by_step() -> None:
    """As Holm states it: the smallest p at 0.05 / m, the next at 0.05 / (m - 1), until one is not below."""
    generator = np.random.default_rng(2)
    for _ in range(200):
        p = generator.uniform(size=6) ** 3
        rejected = np.zeros(6, dtype=bool)
        for step, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (6 - step):
                break
            rejected[index] = True
        assert ((holm(p) <= 0.05) == rejected).all()
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.parametrize(("means", "n"), [((0.0,) * 8, 12), ((0.0, 0.0, 5.0, 6.0), 8)], ids=["equal", "mixed"])
def test_the_whole_family_errs_in_five_percent(means: tuple[float, ...], n: int) -> None:
    """No false claim, and every interval true, in 95 % of comparisons, though the best is chosen by the same numbers.

    With k - 1 comparisons for a family the eight equal groups would seem different in 12 %.
    """
    generator = np.random.default_rng(3)
    times, false, missed = 1500, 0, 0
    for _ in range(times):
        values = np.array(means)[:, None] + generator.normal(size=n) + generator.normal(size=(len(means), n))
        ranking = rank(values, "less")
        true = [mean - means[ranking.best] for mean in means]
        pairs = [(test, mean) for test, mean in zip(ranking.tests, true) if test.verdict != "best"]
        false += any(test.verdict == "worse" and mean <= 0 for test, mean in pairs)
        missed += any(not test.low <= mean <= test.high for test, mean in pairs)
    allowed = stats.binom.ppf(0.999, times, 0.05) / times
    assert false / times <= allowed
    assert missed / times <= allowed
    assert false / times > 0.01, "it is not careful beyond all use"


def test_less_and_more() -> None:
    values = np.array([[1.0, 1.1, 0.9, 1.05, 0.95], [2.0, 2.2, 1.9, 2.1, 2.05]])
    assert rank(values, "less").best == 0
    assert rank(values, "more").best == 1
    assert rank(values, "less").winner
    assert rank(values, "more").winner
    assert rank(values, "less").tests[1].difference == pytest.approx(1.05)
    assert rank(values, "more").tests[0].difference == pytest.approx(-1.05)


def test_few_pairs_are_not_tested() -> None:
    values = np.array([[1.0, 1.1, 0.9, 1.05, np.nan, np.nan], [2.0, 2.2, 1.9, 2.1, np.nan, 2.0]])
    ranking = rank(values, "less")
    test = ranking.tests[0] if ranking.best == 1 else ranking.tests[1]
    assert test.verdict == "too few pairs"
    assert test.pairs == 4
    assert np.isnan(test.p)
    assert ranking.family == 0
    assert not ranking.winner


def test_one_lucky_seed_is_not_the_best() -> None:
    values = np.array([[0.1] + [np.nan] * 5, [1.0, 1.1, 0.9, 1.05, 1.0, 1.02], [2.0, 2.2, 1.9, 2.1, 2.0, 2.05]])
    ranking = rank(values, "less")
    assert ranking.best == 1
    assert ranking.tests[0].verdict == "too few pairs"
    assert ranking.tests[2].verdict == "worse"


def test_differences_that_do_not_vary_are_not_tested() -> None:
    values = np.array([[0.1] * 6, [0.3] * 6])
    assert rank(values, "less").tests[1].verdict == "no spread"
    assert rank(np.array([[0.1] * 6, [0.1] * 6]), "less").tests[1].verdict == "no spread"


def test_values_that_are_not_finite_are_no_pairs() -> None:
    values = np.array([[1.0, 1.1, 0.9, 1.05, 0.95, np.inf], [2.0, 2.2, 1.9, 2.1, 2.05, 3.0]])
    assert rank(values, "less").tests[1].pairs == 5


def test_spread() -> None:
    assert spread([1.0, 3.0, np.nan]) == (2.0, pytest.approx(np.sqrt(2)), 2)
    assert spread([4.0]) == (4.0, None, 1)
    assert spread([])[2] == 0
