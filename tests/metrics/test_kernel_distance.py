import numpy as np
import pytest
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.kernel import KernelDistance, mean_between, mean_within, polynomial_kernel


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def measured(reference: Tensor, features: Tensor, batch_size: int = 64) -> float:
    metric = KernelDistance(reference)
    for batch in features.split(batch_size):
        metric.update(batch)
    return float(metric.compute()["kid"])


def test_it_equals_torch_fidelity_on_one_subset_that_is_the_whole_set() -> None:
    metric_kid = pytest.importorskip("torch_fidelity.metric_kid")
    reference, features = normal(90, 12, seed=1), 1.3 * normal(90, 12, seed=2) + 0.2
    theirs = metric_kid.kid_features_to_metric(
        features.double(), reference.double(), kid_subsets=1, kid_subset_size=90, rng_seed=0, verbose=False
    )
    ours = measured(reference, features)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_it_depends_on_neither_order_nor_batches_nor_chunks() -> None:
    reference, features = normal(70, 8, seed=1), normal(50, 8, seed=2)
    expected = measured(reference, features)
    shuffled = features[torch.randperm(50, generator=torch.Generator().manual_seed(3))]
    assert measured(reference, shuffled, 7) == pytest.approx(expected, abs=1e-12)
    for at_once in (1, 7, 1000):
        within = mean_within(features, polynomial_kernel, at_once)
        assert float(within) == pytest.approx(float(mean_within(features, polynomial_kernel)), rel=1e-12)
        between = mean_between(features, reference, polynomial_kernel, at_once)
        assert float(between) == pytest.approx(float(mean_between(features, reference, polynomial_kernel)), rel=1e-12)


def test_its_mean_over_halves_of_one_distribution_is_zero_at_any_size() -> None:
    for size in (10, 40):
        values = [measured(normal(size, 3, seed=2 * k), normal(size, 3, seed=2 * k + 1)) for k in range(200)]
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values)) < 3.5 * error
        assert min(values) < 0 < max(values)


def test_its_mean_is_the_discrepancy_of_the_distributions() -> None:
    # In one dimension E k(x, y) is a polynomial of the moments: with k = (x y + 1)^3 and x ~ N(m, s^2), y alike,
    # E k = 1 + 3 a1 b1 + 3 a2 b2 + a3 b3, where a_i, b_i are the raw moments; so MMD^2 = 3 d1^2 + 3 d2^2 + d3^2.
    shift, scale = 0.5, 1.2
    d1, d2 = shift, shift**2 + scale**2 - 1
    d3 = shift**3 + 3 * shift * scale**2
    exact = 3 * d1**2 + 3 * d2**2 + d3**2
    values = [measured(normal(60, 1, seed=2 * k), scale * normal(60, 1, seed=2 * k + 1) + shift) for k in range(300)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - exact) < 3.5 * error
    assert error < 0.2 * exact


def test_rows_of_two_ranks_equal_one_process() -> None:
    reference, features = normal(60, 8, seed=1), normal(41, 8, seed=2)
    first, second = KernelDistance(reference), KernelDistance(reference)
    first.update(features[::2])
    second.update(features[1::2])
    first.rows = first.rows + second.rows
    assert float(first.compute()["kid"]) == pytest.approx(measured(reference, features), abs=1e-12)


def test_too_few_rows_are_refused_in_one_line() -> None:
    metric = KernelDistance(normal(10, 4))
    metric.update(normal(1, 4))
    with pytest.raises(UserError, match="at least 2 samples, not 1"):
        metric.compute()
    with pytest.raises(UserError, match="at least 2 rows"):
        KernelDistance(normal(1, 4))
