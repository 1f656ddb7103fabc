"""From which laws t is drawn: densities, quantiles, strata (fact F28)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.objectives import (
    LogitNormal,
    LogNormalSigma,
    MovingLogitNormal,
    StepContext,
    Stratified,
    TimeSampler,
    Uniform,
    UShaped,
    Weight,
)
from fmlab.paths import VP, CondOT, Cosine, Interpolant, Polynomial
from fmlab.training.generative_module import FlowMatching
from fmlab.training.module import Batch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logit_normal_density(mean: float, std: float) -> Callable[[Tensor], Tensor]:
    """F28, as printed."""
    return lambda t: (
        torch.exp(-((torch.logit(t) - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi) * t * (1 - t))
    )


DENSITIES: dict[str, tuple[TimeSampler, Callable[[Tensor], Tensor]]] = {
    "logit-normal": (LogitNormal(0.4, 0.8), logit_normal_density(0.4, 0.8)),
    "moving, at the end": (MovingLogitNormal(1.0, -1.0, 0.7), logit_normal_density(-1.0, 0.7)),
    "u-shaped": (UShaped(4.0), lambda t: torch.exp(4 * t) + torch.exp(4 * (1 - t))),
    "steep": (UShaped(20.0), lambda t: torch.exp(20 * t) + torch.exp(20 * (1 - t))),
    # ln((1 - t) / t) normal with mean -1.2 on the straight path
    "log-normal sigma": (LogNormalSigma(-1.2, 1.2), logit_normal_density(1.2, 1.2)),
    "stratified": (Stratified(UShaped(4.0)), lambda t: torch.exp(4 * t) + torch.exp(4 * (1 - t))),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_the_quantile_inverts_the_distribution_function(name: str) -> None:
    """The integral of the published density up to quantile(u) is u."""
    sampler, density = DENSITIES[name]
    t = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    values = density(t).nan_to_num(0)
    integral = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(values, t)])
    for u in (0.001, 0.05, 0.3, 0.5, 0.8, 0.99):
        times = sampler.quantile(torch.tensor(u, dtype=torch.float64), StepContext())
        below = integral[torch.searchsorted(t, times)] / integral[-1]
        assert below.item() == pytest.approx(u, abs=2e-4)


def density_at(sampler: TimeSampler, u: float) -> tuple[float, float]:
    """(t, density) where the distribution function is u: the density is the inverse of the quantile's derivative."""
    share = torch.tensor(u, dtype=torch.float64, requires_grad=True)
    t = sampler.quantile(share, StepContext())
    (slope,) = torch.autograd.grad(t, share)
    return t.item(), 1 / slope.item()


def test_densities_have_their_known_values() -> None:
    """F28: 1.59577 at t = 1/2 for logit-normal (0, 1); the U-shape is cosh(a/2) times as dense at its ends."""
    assert density_at(LogitNormal(), 0.5) == pytest.approx((0.5, 1.59577), abs=1e-5)
    (middle, low), (end, high) = density_at(UShaped(4.0), 0.5), density_at(UShaped(4.0), 1 - 1e-9)
    assert (middle, end) == pytest.approx((0.5, 1.0))
    assert high / low == pytest.approx(math.cosh(2.0), rel=1e-6)


@pytest.mark.parametrize("path", [CondOT(), Cosine(), VP(), Polynomial(2)], ids=repr)
def test_the_noise_level_is_log_normal_on_every_path(path) -> None:
    """ln(beta / alpha) ~ N(-1.2, 1.2^2), EDM's law, whatever the path; the largest share P(sigma > 1) is 0.15866."""
    t = LogNormalSigma().sample(50_000, generator(), StepContext(path)).double()
    log_sigma = torch.log(path.beta(t) / path.alpha(t))
    assert t.dtype == torch.float64
    assert log_sigma.mean().item() == pytest.approx(-1.2, abs=0.02)
    assert log_sigma.std().item() == pytest.approx(1.2, abs=0.02)
    assert (log_sigma > 0).double().mean().item() == pytest.approx(0.15866, abs=5e-3)


def test_levels_beyond_the_path_are_moved_to_its_ends() -> None:
    """VP knows no level above 1 / 0.0066 = 152: with mean ln sigma 8 every draw is the start."""
    t = LogNormalSigma(mean=8.0, std=0.1).sample(100, generator(), StepContext(VP()))
    assert (t == 0).all()
    with pytest.raises(UserError, match="Gaussian path, here is Interpolant"):
        LogNormalSigma().sample(3, generator(), StepContext(Interpolant()))


def ks_statistic(t: Tensor, law: Callable[[Tensor], Tensor]) -> float:
    """The largest distance between the empirical distribution function and the law's."""
    share, n = law(t.double().sort().values), len(t)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    return max((steps[1:] - share).max().item(), (share - steps[:-1]).max().item())


@pytest.mark.parametrize("shards", [1, 3, 4])
def test_strata_hold_one_time_each(shards: int) -> None:
    """F28: KS < 1/B for the times of all shards together; independent draws have about 0.87/sqrt(B)."""
    n = 32
    sampler = Stratified(LogitNormal(0.3, 0.9))

    def law(t: Tensor) -> Tensor:
        return torch.special.ndtr((torch.logit(t) - 0.3) / 0.9)

    for seed in range(20):
        parts = [
            sampler.sample(n, generator(100 * seed + k), StepContext(shard=k, shards=shards)) for k in range(shards)
        ]
        together = torch.cat(parts)
        assert ks_statistic(together, law) < 1 / (n * shards) + 1e-5
        strata = (law(together.double()) * n * shards - 1e-4).floor().long()
        assert len(set(strata.tolist())) >= n * shards - 1, "one stratum each, up to rounding"
        for part in parts:
            assert ks_statistic(part, law) < 1.01 / n, "each shard alone is spread as evenly as it can be"
    alone = LogitNormal(0.3, 0.9).sample(n * shards, generator())
    assert ks_statistic(alone, law) > 1 / (n * shards)


def test_strata_are_shuffled_and_every_sample_has_the_law() -> None:
    """The first time of a batch is uniform over many steps: data in a fixed order must not see the same times."""
    first = torch.stack([Stratified(Uniform()).sample(8, generator(seed))[0] for seed in range(2000)])
    assert ks_statistic(first, lambda t: t) < 1.63 / math.sqrt(2000)  # the 1 % level
    t = Stratified(Uniform()).sample(8, generator())
    assert not torch.equal(t, t.sort().values)


@pytest.mark.parametrize("name", DENSITIES)
def test_equal_generators_draw_equal_times(name: str) -> None:
    sampler = DENSITIES[name][0]
    moment = StepContext(progress=0.5, shard=1, shards=2)
    draws = [sampler.sample(64, generator(seed), moment) for seed in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].dtype == torch.float32
    assert ((draws[0] >= 0) & (draws[0] <= 1)).all()


def test_the_law_moves_with_progress() -> None:
    """The median is sigmoid(start + progress (end - start)), by default from the data end to the noise end."""
    half = torch.tensor(0.5)
    for progress, mean in ((0.0, 1.0), (0.25, 0.5), (0.5, 0.0), (1.0, -1.0)):
        median = MovingLogitNormal().quantile(half, StepContext(progress=progress))
        assert median.item() == pytest.approx(1 / (1 + math.exp(-mean)), abs=1e-6)
        moving = Stratified(MovingLogitNormal()).quantile(half, StepContext(progress=progress))
        assert moving == median, "strata of a moving law move with it"


def test_weighting_is_sampling() -> None:
    """F28: E_p[w f] = E_q[f] for q = w p: uniform t with the logit-normal density as weight, or drawn by that law."""

    class Density(Weight):
        def __call__(self, t: Tensor, path, space) -> Tensor:
            return logit_normal_density(1.5, 1.0)(t.clamp(1e-6, 1 - 1e-6))

    data = torch.randn(100_000, 1, generator=generator())

    def loss(**parts) -> float:
        module = FlowMatching(lambda x, t: x * t[:, None], **parts)  # type: ignore[arg-type]
        losses, _ = module.losses(module.network, Batch(data), generator)  # its purpose seeds each draw
        return losses.mean().item()

    weighted = loss(time_sampler=Stratified(Uniform()), weight=Density())
    drawn = loss(time_sampler=Stratified(LogitNormal(1.5, 1.0)))
    assert weighted == pytest.approx(drawn, rel=0.02)
    assert abs(loss() - drawn) > 0.05 * drawn, "the two laws differ, or nothing is shown"


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: UShaped(0), "steepness"),
        (lambda: UShaped(81), "steepness"),
        (lambda: MovingLogitNormal(std=0), "std"),
        (lambda: LogNormalSigma(std=-1), "std"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], TimeSampler], key: str) -> None:
    with pytest.raises(UserError, match=key) as error:
        make()
    assert error.value.key == key


def test_a_steep_u_shape_stays_finite_in_float32() -> None:
    u = torch.tensor([2.0**-25, 0.25, 0.5, 0.75, 1 - 2.0**-24])
    t = UShaped(80).quantile(u, StepContext())
    assert torch.isfinite(t).all()
    assert t.tolist() == pytest.approx([0, math.log(2) / 80, 0.5, 1 - math.log(2) / 80, 1], abs=1e-5)


def test_a_module_refuses_a_time_sampler_that_its_path_does_not_suit() -> None:
    with pytest.raises(UserError, match="LogNormalSigma needs a Gaussian path"):
        FlowMatching(lambda x, t: x, path=Interpolant(), time_sampler=Stratified(LogNormalSigma()))  # type: ignore[arg-type]
