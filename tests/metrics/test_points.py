import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.kernel import MaximumMeanDiscrepancy
from fmlab.metrics.transport import Wasserstein2, wasserstein2


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_on_a_line_the_best_assignment_sorts_both_sets() -> None:
    x, y = normal(200, 1, seed=1), 2 * normal(200, 1, seed=2) + 3
    sorted_matching = (x.sort(0).values - y.sort(0).values).square().mean().sqrt()
    assert float(wasserstein2(x, y)) == pytest.approx(float(sorted_matching), rel=1e-12)


def test_no_permutation_of_six_points_is_cheaper() -> None:
    x, y = normal(6, 2, seed=1), normal(6, 2, seed=2)
    best = min((x[list(p)] - y).square().sum(1).mean().sqrt() for p in itertools.permutations(range(6)))
    assert float(wasserstein2(x, y)) == pytest.approx(float(best), rel=1e-12)


def test_a_shift_costs_its_length_and_a_permutation_nothing() -> None:
    x = normal(100, 2)
    assert float(wasserstein2(x + torch.tensor([3.0, 4.0]), x)) == pytest.approx(5, rel=1e-12)
    assert float(wasserstein2(x.flip(0), x)) == 0


def test_the_metric_gathers_batches_in_any_order() -> None:
    reference, points = normal(80, 2, seed=1).float(), normal(80, 2, seed=2).float()
    expected = float(wasserstein2(points, reference))
    metric = Wasserstein2(reference)
    for batch in points.flip(0).split(9):
        metric.update(batch)
    assert float(metric.compute()["w2"]) == pytest.approx(expected, rel=1e-12)


def test_more_reference_points_than_samples_are_chosen_from_and_fewer_are_refused() -> None:
    metric = Wasserstein2(torch.full((50, 2), 1.0))
    metric.update(torch.zeros(20, 2))
    assert float(metric.compute()["w2"]) == pytest.approx(2**0.5)
    metric.update(torch.zeros(40, 2))
    with pytest.raises(UserError, match="60 samples cannot be matched with 50 reference points"):
        metric.compute()


def test_points_that_blew_up_give_nan_and_no_crash() -> None:
    reference = normal(10, 2)
    for metric in (Wasserstein2(reference), MaximumMeanDiscrepancy(reference)):
        metric.update(torch.full((10, 2), float("nan")))
        (value,) = metric.compute().values()
        assert value.isnan()


def test_the_discrepancy_of_gaussians_has_a_closed_form() -> None:
    # For N(m, s^2) in d dimensions and the kernel of bandwidth h, E k(x, y) over two Gaussians is
    # (h^2 / (h^2 + s1^2 + s2^2))^(d/2) exp(-|m1 - m2|^2 / (2 (h^2 + s1^2 + s2^2))).
    def kernel_mean(variance: float, gap: float, h2: float) -> float:
        return (h2 / (h2 + variance)) * np.exp(-gap / (2 * (h2 + variance)))

    values, errors = [], []
    for seed in range(100):
        reference, points = normal(100, 2, seed=2 * seed), 1.5 * normal(80, 2, seed=2 * seed + 1) + 0.7
        metric = MaximumMeanDiscrepancy(reference)
        metric.update(points)
        h2 = float(metric.bandwidth) ** 2
        exact = kernel_mean(2, 0, h2) + kernel_mean(4.5, 0, h2) - 2 * kernel_mean(3.25, 2 * 0.7**2, h2)
        values.append(exact)
        errors.append(float(metric.compute()["mmd"]) - exact)
    assert abs(np.mean(errors)) < 3.5 * np.std(errors) / 10
    assert np.std(errors) / 10 < 0.05 * np.mean(values)


def test_the_bandwidth_is_the_median_distance() -> None:
    # The distances between 0, 1 and 3 are 1, 2 and 3.
    metric = MaximumMeanDiscrepancy(torch.tensor([[0.0], [1.0], [3.0]]))
    assert float(metric.bandwidth) == 2


def test_three_points_against_two_by_hand() -> None:
    metric = MaximumMeanDiscrepancy(torch.tensor([[0.0], [1.0], [3.0]]))  # the bandwidth is 2, so k = exp(-d^2 / 8)
    metric.update(torch.tensor([[0.0], [4.0]]))
    within_reference = np.exp(-np.array([1, 4, 9]) / 8).mean()
    within_points = np.exp(-16 / 8)
    between = np.exp(-np.array([0, 1, 9, 16, 9, 1]) / 8).mean()
    assert float(metric.compute()["mmd"]) == pytest.approx(within_reference + within_points - 2 * between, rel=1e-12)
