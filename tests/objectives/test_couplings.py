"""Couplings against brute force, closed forms and limits (facts F10, F24-F27)."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fmlab.errors import UserError
from fmlab.objectives import ConditionalOT, Coupling, MinibatchOT, SinkhornOT, couplings
from fmlab.objectives.couplings import ratio_weight
from fmlab.objectives.transport import entropic_plan, exact_matching, spread, squared_distances

EVERY: list[Callable[[], Coupling]] = [MinibatchOT, SinkhornOT, ConditionalOT]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def energy(data: Tensor, source: Tensor) -> float:
    """The mean squared distance of the pairs: E |v|^2 of the conditional velocity on the straight path."""
    return (data - source).double().flatten(1).square().sum(1).mean().item()


def paired(coupling: Coupling, data: Tensor, source: Tensor, condition: Tensor | None = None, seed: int = 0) -> Tensor:
    return coupling.pair(data, source, condition, torch.Generator().manual_seed(seed))


def rows_of(source: Tensor, taken: Tensor) -> Tensor:
    """Which rows of the source were taken."""
    same = (taken[:, None] == source[None]).flatten(2).all(2)
    assert (same.sum(1) == 1).all()
    return same.int().argmax(1)


# Exact (F24, F25) -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [(1,), (2,), (3, 4, 4), (2, 1, 3, 3)])
@pytest.mark.parametrize("size", [1, 2, 5, 200])
def test_optimal_transport_permutes_the_source_and_never_costs_more(size: int, event: tuple[int, ...]) -> None:
    """F24: each draw exactly once; at most the cost of the pairs as drawn; with two pairs the better of two."""
    data, source = normal(size, *event), normal(size, *event, seed=1)
    result = paired(MinibatchOT(), data, source)
    assert result.shape == source.shape
    assert rows_of(source, result).sort().values.tolist() == list(range(size))
    assert energy(data, result) <= energy(data, source) + 1e-9
    if size == 2:
        assert energy(data, result) == pytest.approx(min(energy(data, source), energy(data, source.flip(0))))


def test_optimal_transport_is_the_best_of_all_permutations() -> None:
    """F24: brute force over the 720 permutations of six pairs."""
    for seed in range(5):
        data, source = normal(6, 2, seed=seed), normal(6, 2, seed=100 + seed)
        best = min(energy(data, source[list(order)]) for order in itertools.permutations(range(6)))
        assert energy(data, paired(MinibatchOT(), data, source)) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_prepared_matching_is_the_plain_one(offset: float) -> None:
    """F24: what is taken off rows and columns first leaves scipy's assignment what it was."""
    cost = squared_distances(normal(300, 2).double() + offset, 3 * normal(300, 2, seed=1).double())
    order = exact_matching(cost)
    rows, columns = linear_sum_assignment(cost.numpy())
    assert cost[range(300), order].sum().item() == pytest.approx(cost[rows, columns].sum().item(), rel=1e-12)


def test_on_a_line_sorted_goes_with_sorted() -> None:
    """F25, in float32 of one sign far from 0 as well, where squares cancel."""
    for size, offset in ((50, 0.0), (400, 300.0)):
        data, source = normal(size, 1) + offset, normal(size, 1, seed=1) + offset
        result = paired(MinibatchOT(), data, source)
        assert torch.equal(result[data.squeeze().argsort()], source.sort(0).values)


def test_a_big_sample_has_the_distance_between_gaussians() -> None:
    """F25: W2^2 between N(0, [[2, .5], [.5, 1]]) and N(0, [[1, -.3], [-.3, .5]]) is .5533014128."""
    covariances = torch.tensor([[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.3], [-0.3, 0.5]]])
    roots = torch.linalg.cholesky(covariances)
    data, source = (normal(1200, 2, seed=seed) @ roots[seed].T for seed in range(2))
    assert energy(data, paired(MinibatchOT(), data, source)) == pytest.approx(0.5533014128, abs=0.05)
    assert energy(data, source) == pytest.approx(4.5, abs=0.3)  # the sum of both traces


def test_path_energies_are_in_their_order() -> None:
    """F26 for N(0, 1) -> N(2, 1/4): W2^2 = 4.25 <= E|v|^2 of the marginal velocity <= 5.25 of the independent pairs."""
    data, source = 2 + 0.5 * normal(4000, 1), normal(4000, 1, seed=1)
    assert energy(data, source) == pytest.approx(5.25, abs=0.2)
    assert energy(data[:800], paired(MinibatchOT(), data[:800], source[:800])) == pytest.approx(4.25, abs=0.2)
    t = torch.linspace(0, 1, 4000)[:, None]
    x = t * data + (1 - t) * source
    variance = t**2 / 4 + (1 - t) ** 2
    marginal = 2 + (t / 4 - (1 - t)) * (x - 2 * t) / variance
    assert 4.25 < energy(marginal, torch.zeros_like(marginal)) < 5.25


def test_the_floor_of_the_loss_falls_as_the_batch_grows() -> None:
    """F10: E Var(v | x_t) is s^2 / (t^2 s^2 + (1 - t)^2) for independent pairs, and tends to 0 under OT."""
    data, source, t = 2 + 0.5 * normal(8192, 1), normal(8192, 1, seed=1), 0.5
    floors = []
    for size in (1, 4, 32, 256):
        batches = zip(data.split(size), source.split(size))
        result = torch.cat([paired(MinibatchOT(), *batch) for batch in batches]) if size > 1 else source
        velocity, x = data - result, t * data + (1 - t) * result
        bins = velocity[x.squeeze().argsort()].reshape(128, -1)
        floors.append(bins.var(1).mean().item())
    assert floors[0] == pytest.approx(0.25 / (0.25 * 0.25 + 0.25), rel=0.05)
    assert floors == sorted(floors, reverse=True)
    assert floors[3] < 0.1 * floors[0]


# Entropic (F24, F27) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 30, 300])
@pytest.mark.parametrize("share", [0.03, 0.3, 3.0])
def test_the_plan_has_its_marginals_and_is_optimal(size: int, share: float) -> None:
    """F24: with the marginals right, log P + cost / regularisation = f_i + g_j is necessary and sufficient."""
    cost = squared_distances(normal(size, 2), 2 * normal(size, 2, seed=1))
    regularisation = share * spread(cost)
    plan, error = entropic_plan(cost, regularisation, 5000, 1e-6)
    assert error <= 1e-6
    assert (plan.sum(0) - 1).abs().max() < 1e-9
    assert (plan.sum(1) - 1).abs().mean() < 1e-5
    rest = plan.log() + cost / regularisation
    rest = rest - rest.mean(0) - rest.mean(1, keepdim=True) + rest.mean()
    assert rest.abs().max() < 1e-6


def test_sinkhorn_lies_between_exact_and_independent() -> None:
    """F24: towards 0 the exact pairs, towards infinity every partner alike, between them a cost between."""
    data, source = normal(20, 2), normal(20, 2, seed=1)
    exact = paired(MinibatchOT(), data, source)
    assert torch.equal(paired(SinkhornOT(1e-3, iterations=20_000), data, source), exact)
    cost = squared_distances(data, source)
    costs = [(entropic_plan(cost, r, 20_000, 1e-6)[0] * cost).sum().item() / 20 for r in (1e-3, 0.3, 3.0, 1e6)]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(energy(data, exact), rel=1e-3)
    assert costs[3] == pytest.approx(cost.mean().item(), rel=1e-4)
    plan = entropic_plan(cost, 1e9, 100, 1e-6)[0]
    torch.testing.assert_close(plan, torch.full_like(plan, 1 / 20))


def test_sinkhorn_draws_each_partner_from_its_row() -> None:
    """F24: every data point once; the frequency of each partner is its row of the plan."""
    data, source = normal(4, 2), normal(4, 2, seed=1)
    plan, _ = entropic_plan(squared_distances(data, source), 2.0, 1000, 1e-9)
    counts, generator = torch.zeros(4, 4), torch.Generator().manual_seed(0)
    for _ in range(1000):
        counts[range(4), rows_of(source, SinkhornOT(2.0).pair(data, source, None, generator))] += 1
    assert (counts.sum(1) == 1000).all()
    assert (counts / 1000 - plan).abs().max() < 4 * math.sqrt(0.25 / 1000)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_twice_sigma_squared_is_the_schroedinger_bridges(sigma: float) -> None:
    """F27: between N(-a, 1) and N(a, 1) the bridge's variance at t = 1/2 says the covariance of its ends is
    (sqrt(4 + sigma^4) - sigma^2) / 2."""
    grid = torch.special.ndtri((torch.arange(400) + 0.5) / 400)[:, None].double()
    plan, _ = entropic_plan(squared_distances(grid + 1, grid - 1), 2 * sigma**2, 1000, 1e-9)
    covariance = (plan * grid * grid.T).sum().item() / 400
    assert covariance == pytest.approx((math.sqrt(4 + sigma**4) - sigma**2) / 2, abs=0.01)


@pytest.mark.parametrize("event", [(2,), (3, 16, 16)])
def test_what_sinkhorn_does_of_itself_suits_any_dimension(event: tuple[int, ...]) -> None:
    """Left out, the regularisation keeps all but a few percent of what exact transport saves, yet leaves a choice."""
    data, source = 2 * normal(256, *event), normal(256, *event, seed=1)
    source[:128] += 3
    cost = squared_distances(data, source)
    with patch.object(couplings, "entropic_plan", wraps=entropic_plan) as planned:
        paired(SinkhornOT(), data, source)
    plan = entropic_plan(*planned.call_args.args)[0] / 256
    saved, exact = cost.mean() - (plan * cost).sum(), cost.mean() - energy(data, paired(MinibatchOT(), data, source))
    assert 0.95 < (saved / exact).item() < 0.9999


@pytest.mark.parametrize("event", [(2,), (3, 8, 8)])
@pytest.mark.parametrize("size", [1, 2, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sinkhorn_pairs_equal_points_and_any_regularisation(
    dtype: torch.dtype, size: int, event: tuple[int, ...]
) -> None:
    """Equal data, an equal source, both; and regularisations beyond what a float64 can tell apart."""
    equal, various = torch.full((size, *event), 0.3, dtype=dtype), normal(size, *event).to(dtype)
    for data, source in itertools.product((equal, various, various + 1e4), (-equal, equal, various.flip(0))):
        for regularisation in (None, 1e-300, 1e-20, 1e-3, 1.0, 1e12):
            rows_cost = squared_distances(data, source)
            plan, _ = entropic_plan(rows_cost, regularisation or 0.05 * spread(rows_cost), 30, 1e-3)
            torch.testing.assert_close(plan.sum(0), torch.ones(size, dtype=torch.float64))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some do not arrive
                assert paired(SinkhornOT(regularisation, iterations=30), data, source).shape == source.shape


def test_sinkhorn_says_when_it_has_not_arrived() -> None:
    data, source = normal(50, 2), normal(50, 2, seed=1)
    with pytest.warns(UserWarning, match=r"raise coupling\.regularisation"):
        paired(SinkhornOT(1e-5, iterations=1, tolerance=1e-6), data, source)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paired(SinkhornOT(), data, source)


# With conditions (F25) ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [torch.arange(240) % 3, (torch.arange(240) % 3)[:, None], torch.arange(240) % 3 / 3])
def test_an_infinite_weight_matches_each_class_by_itself(labels: Tensor) -> None:
    """F25: so that under each label the model sees exactly the draws that came with it."""
    data, source = normal(240, 2) + labels.reshape(-1, 1), normal(240, 2, seed=1)
    result = paired(ConditionalOT(), data, source, labels)
    for label in labels.unique():
        rows = (labels == label).reshape(-1)
        assert torch.equal(result[rows], paired(MinibatchOT(), data[rows], source[rows]))
    assert torch.equal(paired(ConditionalOT(1e6), data, source, labels), result)


def test_without_weight_or_conditions_it_is_plain_transport() -> None:
    """F25."""
    data, source, labels = normal(240, 2), normal(240, 2, seed=1), torch.arange(240) % 3
    plain = paired(MinibatchOT(), data, source)
    assert torch.equal(paired(ConditionalOT(0.0), data, source, labels), plain)
    assert torch.equal(paired(ConditionalOT(), data, source, None), plain)
    assert not torch.equal(paired(ConditionalOT(), data, source, labels), plain)


@pytest.mark.parametrize("shape", [(6,), (6, 2)])
@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_a_finite_weight_minimises_the_sum_of_both_costs(shape: tuple[int, ...], kind: str) -> None:
    """C2OT's cost over all permutations of six pairs; a vector of labels differs or it does not."""
    for seed in range(3):
        data, source, condition = normal(6, 2, seed=seed), normal(6, 2, seed=50 + seed), normal(*shape, seed=seed)
        if kind == "labels":
            condition = (condition > 0).long()
        apart = (condition.reshape(6, 1, -1) - condition.reshape(6, -1)).double().square().sum(2)
        apart = (apart > 0).double() if kind == "labels" else apart
        cost = squared_distances(data, source) + 0.8 * apart
        result = rows_of(source, paired(ConditionalOT(0.8), data, source, condition))
        best = min(cost[range(6), list(order)].sum().item() for order in itertools.permutations(range(6)))
        assert cost[range(6), result].sum().item() == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_a_target_ratio_is_the_share_of_pairs_that_a_weight_leaves_cheap(kind: str) -> None:
    """C2OT's r: the share of pairs that cost no more than the data point's own; it falls as the weight grows."""
    data, source, condition = normal(200, 2), normal(200, 2, seed=1), normal(200, seed=2)
    if kind == "labels":
        condition = (torch.arange(200) % 40).long()
    cost, between = squared_distances(data, source), (condition[:, None] - condition).double().square()
    between = (between > 0).double() if kind == "labels" else between

    def share(weight: float) -> float:
        return float((cost + weight * between <= cost.diagonal()[:, None]).double().mean())

    for ratio in (0.05, 0.2):
        weight = ratio_weight(cost, between, ratio)
        assert share(weight * (1 - 1e-9)) >= ratio > share(weight * (1 + 1e-9))
        result = paired(ConditionalOT(target_ratio=ratio), data, source, condition)
        assert torch.equal(result, paired(ConditionalOT(weight), data, source, condition))
    # More than are cheap without any weight: plain transport.
    assert ratio_weight(cost, between, 1.0) == 0
    assert torch.equal(
        paired(ConditionalOT(target_ratio=1.0), data, source, condition), paired(MinibatchOT(), data, source)
    )


def test_plain_transport_biases_the_source_under_a_condition_and_c2ot_does_not() -> None:
    """C2OT's finding: the condition is the data's place, and plain transport ties the noise to it."""
    data, source = normal(400, 1), normal(400, 1, seed=1)
    labels = (data.squeeze() > 0).long()
    means = [paired(c, data, source, labels)[labels == 1].mean().item() for c in (MinibatchOT(), ConditionalOT())]
    assert means[0] > 0.6
    assert abs(means[1]) < 0.2
    tied = [
        (paired(ConditionalOT(w), data, source, data).squeeze() * data.squeeze()).mean().item() for w in (0.0, 1.0, 99)
    ]
    assert tied[0] > tied[1] > tied[2]


# All of them ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", EVERY)
def test_a_coupling_repeats_itself_and_only_sinkhorn_draws(make: Callable[[], Coupling]) -> None:
    data, source, labels = normal(64, 2), normal(64, 2, seed=1), torch.arange(64) % 2
    first, again, other = (paired(make(), data, source, labels, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (make is not SinkhornOT)


@pytest.mark.parametrize("make", EVERY)
def test_low_precision_and_autocast_change_no_pair(make: Callable[[], Coupling]) -> None:
    data, source = normal(200, 2).bfloat16(), normal(200, 2, seed=1)
    plain = paired(make(), data.float(), source)
    with torch.autocast("cpu", torch.bfloat16):
        result = paired(make(), data, source)
    assert result.dtype == torch.float32
    assert torch.equal(result, plain)


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("size", [1, 3, 200])
def test_points_that_are_all_alike_can_be_matched(make: Callable[[], Coupling], size: int) -> None:
    source = normal(size, 2)
    for data in (torch.zeros(size, 2), torch.full((size, 2), 1e3)):
        result = paired(make(), data, source)
        assert torch.isfinite(result).all()
        if make is not SinkhornOT:
            assert rows_of(source, result).sort().values.tolist() == list(range(size))
    assert torch.equal(paired(make(), source, torch.zeros(size, 2)), torch.zeros(size, 2))
    assert torch.equal(paired(make(), torch.zeros(size, 2), torch.zeros(size, 2)), torch.zeros(size, 2))


@pytest.mark.parametrize("make", EVERY)
def test_what_cannot_be_matched_is_told_in_one_line(make: Callable[[], Coupling]) -> None:
    data = normal(4, 2)
    with pytest.raises(UserError, match="not finite"):
        paired(make(), torch.full_like(data, math.nan), data)
    with pytest.raises(UserError, match="shape"):
        paired(make(), data, normal(5, 2))
    with pytest.raises(UserError, match="batch_size"):
        make(batch_size=0)  # type: ignore[call-arg]


def test_a_weight_is_given_or_chosen() -> None:
    for wrong in (0.0, 1.5, -1.0):
        with pytest.raises(UserError, match="in \\(0, 1\\]"):
            ConditionalOT(target_ratio=wrong)
    with pytest.raises(UserError, match="given too"):
        ConditionalOT(2.0, target_ratio=0.1)


def test_arguments_out_of_range() -> None:
    for arguments in ({"regularisation": 0.0}, {"regularisation": math.inf}, {"iterations": 0}, {"tolerance": 0.0}):
        with pytest.raises(UserError, match=next(iter(arguments))):
            SinkhornOT(**arguments)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="condition_weight"):
        ConditionalOT(-1.0)
    assert repr(ConditionalOT(batch_size=8)) == (
        "ConditionalOT(condition_weight=inf, target_ratio=None, batch_size=8, across_ranks=False)"
    )


@pytest.mark.parametrize("coupling", [SinkhornOT(), SinkhornOT(0.1), MinibatchOT(), ConditionalOT()], ids=repr)
def test_points_that_are_all_equal_can_be_matched(coupling: Coupling) -> None:
    """All pairs cost the same, 0 if data and source are the same point too: any permutation is optimal."""
    for distance in (0.0, 1.0):
        source = torch.full((200, 2), distance)
        assert torch.equal(coupling.pair(torch.zeros(200, 2), source, None, torch.Generator()), source)
