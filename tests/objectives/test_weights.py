"""Weights of the squared error: the same objective in every space, finite wherever a network is trained (F28, F29)."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.networks import MLP
from fmlab.objectives import EDMWeight, LikelihoodWeight, LogNormalSigma, MinSNRWeight, TimeSampler, Weight
from fmlab.paths import VP, CondOT, Cosine, EDMPreconditioning, GaussianPath, Interpolant, Kind, Polynomial
from fmlab.random import keyed_generator
from fmlab.training.generative_module import FlowMatching, GenerativeModule, ScoreMatching
from fmlab.training.module import Batch

PATHS = [CondOT(), Cosine(), VP(), Polynomial(2)]
WEIGHTS = [EDMWeight(), EDMWeight(0.2), MinSNRWeight(), MinSNRWeight(0.5), LikelihoodWeight()]
TIMES = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)


def data_factor(weight: Weight, t: Tensor, path: GaussianPath) -> Tensor:
    """The factor of the squared data error, from that of the velocity error by |dv|^2 = (D / beta)^2 |dz|^2."""
    return weight(t, path, "velocity") * (path.wronskian(t) / path.beta(t)) ** 2


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_weights_are_the_published_ones(path: GaussianPath) -> None:
    """In sigma = beta / alpha and SNR = 1 / sigma^2 alone, so the same on every path."""
    sigma = path.beta(TIMES) / path.alpha(TIMES)
    torch.testing.assert_close(data_factor(EDMWeight(0.5), TIMES, path), (sigma**2 + 0.25) / (sigma * 0.5) ** 2)
    torch.testing.assert_close(data_factor(MinSNRWeight(5), TIMES, path), (sigma**-2).clamp(max=5))
    # -1/2 d ln sigma^2 / dt on the noise error, by central differences
    h = 1e-5
    log_sigma = [torch.log(path.beta(TIMES + s) / path.alpha(TIMES + s)) for s in (-h, h)]
    rate = -(log_sigma[1] - log_sigma[0]) / (2 * h)
    torch.testing.assert_close(LikelihoodWeight()(TIMES, path, "noise"), rate, rtol=1e-6, atol=0)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_edm_weight_evens_out_the_preconditioned_network(path: GaussianPath) -> None:
    """F29: lambda(sigma) c_out^2 = 1, so an error of the raw network counts alike at every time."""
    scaling = EDMPreconditioning(0.5)
    torch.testing.assert_close(
        data_factor(EDMWeight(0.5), TIMES, path) * scaling.c_out(TIMES, path) ** 2, torch.ones_like(TIMES)
    )
    x, off = torch.randn(49, 3, dtype=torch.float64), torch.randn(49, 3, dtype=torch.float64)
    zero, other = (scaling.prediction(output, x, TIMES, path) for output in (torch.zeros_like(x), off))
    for space, error in (("velocity", other.velocity - zero.velocity), ("noise", other.noise - zero.noise)):
        torch.testing.assert_close(EDMWeight(0.5)(TIMES, path, space)[:, None] * error**2, off**2)


def test_likelihood_weight_on_vp_is_songs() -> None:
    """Song et al. 2021: g^2 / 2 on the score error, g^2 the linear rate at the reversed time."""
    path, noise_error = VP(0.1, 20), torch.randn(49, dtype=torch.float64)
    g_squared = 0.1 + (1 - TIMES) * 19.9
    score_error = noise_error / path.beta(TIMES)
    weighted = LikelihoodWeight()(TIMES, path, "noise") * noise_error**2
    torch.testing.assert_close(weighted, g_squared / 2 * score_error**2)


class Fixed(TimeSampler):
    """Uniform on (0.02, 0.98), where no module moves t."""

    def quantile(self, u: Tensor, moment: Any) -> Tensor:
        return 0.02 + 0.96 * u


def losses(module: GenerativeModule) -> Tensor:
    data = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    result, _ = module.losses(module.network, Batch(data), lambda purpose: keyed_generator(0, purpose))
    return result


@pytest.mark.parametrize("weight", WEIGHTS, ids=repr)
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_both_modules_measure_the_same_weighted_error(path: GaussianPath, weight: Weight) -> None:
    """The same network on the same draws has the same weighted loss in velocity space and in noise space."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        return torch.sin(3 * x) + t[:, None]

    flow, score = (
        losses(kind(network, path=path, weight=weight, time_sampler=Fixed()))  # type: ignore[arg-type]
        for kind in (FlowMatching, ScoreMatching)
    )
    torch.testing.assert_close(flow, score, rtol=5e-3, atol=1e-4)
    plain = losses(ScoreMatching(network, path=path, time_sampler=Fixed()))  # type: ignore[arg-type]
    assert not torch.allclose(plain, score, rtol=0.05)


class TwoHeads(nn.Module):
    """Velocity and score, both of them what a network of one head gives."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        output = self.network(x, t)
        return torch.stack([output, output], 1)


class Ends(TimeSampler):
    """Both ends of time and points close to them."""

    def quantile(self, u: Tensor, moment: Any) -> Tensor:
        return torch.tensor([0.0, 1e-6, 1e-3, 0.5, 0.999, 1 - 1e-6, 1.0]).repeat(len(u) // 7 + 1)[: len(u)]


@pytest.mark.parametrize("weight", WEIGHTS, ids=repr)
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_weights_are_finite_wherever_networks_are_trained(path: GaussianPath, weight: Weight) -> None:
    """Every path x prediction x module at the very ends: loss and gradient are finite, and the weight is not 0."""
    predictions: list[Any] = [*get_args(Kind), EDMPreconditioning(), "velocity_and_score"]
    for module_class in (FlowMatching, ScoreMatching):
        for prediction in predictions:
            if prediction == "velocity_and_score" and module_class is ScoreMatching:
                continue
            network: nn.Module = MLP((2,), width=8, depth=1)
            network = TwoHeads(network) if prediction == "velocity_and_score" else network
            module = module_class(network, path=path, prediction=prediction, weight=weight, time_sampler=Ends())
            result = losses(module)
            assert torch.isfinite(result).all(), (module_class.__name__, prediction)
            result.mean().backward()
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            assert all(torch.isfinite(g).all() for g in gradients)
            for space in module.spaces:
                factor = weight(module.admissible(Ends().quantile(torch.zeros(7), None)), path, space)
                assert torch.isfinite(factor).all()
                assert (factor >= 0).all()
                assert factor[3] > 0


def test_times_move_no_further_than_the_weight_needs() -> None:
    """Without a weight the straight path's velocity is trained on all of [0, 1]; the likelihood's factor needs beta."""
    t = torch.tensor([0.0, 0.5, 1.0])
    network = MLP((2,), width=8, depth=1)

    def admissible(module: type[GenerativeModule], weight: Weight | None) -> list[float]:
        return [round(x, 4) for x in module(network, weight=weight).admissible(t).tolist()]

    assert admissible(FlowMatching, None) == [0, 0.5, 1]
    assert admissible(FlowMatching, EDMWeight()) == [0, 0.5, 1]
    assert admissible(FlowMatching, MinSNRWeight()) == [0, 0.5, 1]
    assert admissible(FlowMatching, LikelihoodWeight()) == [0, 0.5, 0.999]
    assert admissible(ScoreMatching, MinSNRWeight()) == [0, 0.5, 1]
    assert admissible(ScoreMatching, EDMWeight()) == [0.01, 0.5, 1]
    assert admissible(ScoreMatching, LikelihoodWeight()) == [0.01, 0.5, 0.999]
    assert MinSNRWeight()(torch.zeros(1), CondOT(), "noise").item() == 1, "all noise: the noise error counts in full"


@pytest.mark.parametrize("weight", WEIGHTS, ids=repr)
def test_weights_refuse_paths_without_a_noise_level(weight: Weight) -> None:
    with pytest.raises(UserError, match=f"{type(weight).__name__} needs a Gaussian path, here is Interpolant"):
        FlowMatching(MLP((2,), width=8, depth=1), path=Interpolant(sigma=0.5), weight=weight)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: EDMWeight(0), "sigma_data"),
        (lambda: MinSNRWeight(-1), "gamma"),
        (lambda: EDMWeight(math.nan), "sigma_data"),
    ],
)
def test_bad_constants_are_refused(make: Any, key: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert error.value.key == key


def test_edm_as_published_trains_with_a_bounded_loss() -> None:
    """Preconditioning, weight and law of sigma together: at zero output the loss is E |F*|^2, about 1, at every time.

    The target of the raw network has unit variance when the data's standard deviation is sigma_data.
    """
    module = FlowMatching(
        lambda x, t: torch.zeros_like(x),  # type: ignore[arg-type]
        prediction=EDMPreconditioning(0.5),
        weight=EDMWeight(0.5),
        time_sampler=LogNormalSigma(),
    )
    data = 0.5 * torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0))
    result, t = module.losses(module.network, Batch(data), lambda purpose: keyed_generator(0, purpose))
    for low, high in ((0.0, 0.5), (0.5, 0.8), (0.8, 1.0)):
        assert result[(t >= low) & (t < high)].mean().item() == pytest.approx(1, abs=0.05)
