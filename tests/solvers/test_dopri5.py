"""The adaptive method: error control sample by sample (facts F12, F14)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fmlab.distributions import three_gaussians
from fmlab.errors import UserError
from fmlab.fields import ExactField, Sampling, collect, generate
from fmlab.paths import VP, CondOT, Cosine, FlowAndScore, GaussianPath, Polynomial
from fmlab.solvers import Dopri5, UniformGrid

ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def exact(path: GaussianPath) -> ExactField:
    return ExactField(three_gaussians(), path)


def noise(n: int = 16) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class Oscillators:
    """dx/dt = omega_i R x for sample i, R the quarter turn: x turns by omega_i in unit time."""

    def __init__(self, *omega: float) -> None:
        self.path, self.nfe = CondOT(), 0
        self.omega = torch.tensor(omega, dtype=torch.float64)
        self.asked: list[Tensor] = []

    def start(self) -> Tensor:
        return torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(self.omega), 2)

    def at(self, t: float) -> Tensor:
        return torch.stack([(self.omega * t).cos(), (self.omega * t).sin()], 1)

    def __call__(self, x: Tensor, t: Tensor) -> FlowAndScore:
        self.nfe += 1
        self.asked.append(t)
        quarter = torch.stack([-x[:, 1], x[:, 0]], 1)
        return FlowAndScore(self.path, x, t, self.omega[:, None] * quarter)


def errors(path: GaussianPath, *tolerances: float) -> list[list[float]]:
    """The root mean square errors forwards and backwards, each at every tolerance."""
    field, x = exact(path), path.initial(noise())
    end = Dopri5(1e-12, 1e-12).solve(field, x, ENDS)
    ways = ((x, end, ENDS), (end, x, ENDS.flip(0)))
    return [
        [(Dopri5(tol, tol).solve(field, start, times) - goal).square().mean().sqrt().item() for tol in tolerances]
        for start, goal, times in ways
    ]


@pytest.mark.parametrize("path", [CondOT(), Cosine(), Polynomial(2)], ids=repr)
def test_tighter_tolerances_cut_the_error(path: GaussianPath) -> None:
    """F14: a hundred times tighter, about a hundred times more exact; both ways in time."""
    for loose, tight in errors(path, 1e-6, 1e-10):
        assert loose < 2e-5
        assert 50 < math.sqrt(loose / tight) < 200


def test_a_corner_in_the_field_is_stepped_over() -> None:
    """The exact field of VP is frozen just before the end, where beta' is infinite: steps shorten, the error holds."""
    for (error,) in errors(VP(), 1e-5):
        assert error < 3e-3


def test_a_sample_does_not_depend_on_the_batch() -> None:
    """F14: to the last bit, beside samples that turn forty times as fast."""
    alone, together = Oscillators(1.0), Oscillators(40.0, 1.0, 0.0, 1e-3)
    first = Dopri5().solve(alone, alone.start(), ENDS)
    batch = Dopri5().solve(together, together.start(), ENDS)
    assert torch.equal(first[0], batch[1])
    torch.testing.assert_close(batch, together.at(1), rtol=0, atol=5e-3)
    assert together.nfe > 5 * alone.nfe
    assert any(len(t.unique()) > 2 for t in together.asked), "each sample has its own time"


def test_samples_are_the_same_at_any_batch_size() -> None:
    def samples(batch_size: int) -> Tensor:
        sampling = Sampling(Dopri5(), 1, UniformGrid())
        return collect(generate(lambda _: exact(CondOT()), sampling, range(12), (2,), batch_size=batch_size)).samples

    torch.testing.assert_close(samples(12), samples(5), rtol=0, atol=1e-5)


def test_a_finished_sample_is_left_alone() -> None:
    """Whatever the field says where a sample has arrived, and the sample's evaluations go on with the slowest."""

    class Poisoned(Oscillators):
        arrived = 0

        def __call__(self, x: Tensor, t: Tensor) -> FlowAndScore:
            evaluation = super().__call__(x, t)
            self.arrived += int(t[0] == 1)
            # A step has its last two evaluations at its end; those after the first sample's own are worth nothing.
            return evaluation if self.arrived <= 2 else FlowAndScore(self.path, x, t, evaluation.flow * torch.nan)

    class FirstPoisoned(Poisoned):
        def __call__(self, x: Tensor, t: Tensor) -> FlowAndScore:
            clean, poisoned = Oscillators.__call__(self, x, t), Poisoned.__call__(self, x, t)
            return FlowAndScore(self.path, x, t, torch.cat([poisoned.flow[:1], clean.flow[1:]]))

    field, alone = FirstPoisoned(1.0, 30.0), Oscillators(1.0)
    end = Dopri5().solve(field, field.start(), ENDS)
    assert field.arrived > 20
    assert torch.equal(end[0], Dopri5().solve(alone, alone.start(), ENDS)[0])
    torch.testing.assert_close(end, field.at(1), rtol=0, atol=1e-3)


def test_evaluations() -> None:
    """F12: two to begin, six a step after that: the last velocity of a step is the first of the next."""
    field = Oscillators(1.0)
    Dopri5().solve(field, field.start(), ENDS)
    times = torch.stack(field.asked).squeeze(1)
    steps, rest = divmod(field.nfe - 2, 6)
    assert rest == 0
    assert 2 <= steps <= 12
    assert len(times[2:].unique()) == 5 * steps, "the start is asked once, the two last stages of a step share a time"
    assert times.max() == 1


def test_only_the_ends_of_the_grid_count() -> None:
    """Interior times change nothing, unless the trajectory is wanted; then each is landed on."""
    field = Oscillators(3.0, 9.0)
    end = Dopri5().solve(field, field.start(), ENDS)
    times = torch.tensor([0.0, 0.1, 0.11, 0.7, 1.0], dtype=torch.float64)
    assert torch.equal(Dopri5().solve(field, field.start(), times), end)
    solver = Dopri5(1e-8, 1e-8)
    field.asked.clear()
    states = solver.solve(field, field.start(), times, trajectory=True)
    for state, t in zip(states, times.tolist()):
        torch.testing.assert_close(state, field.at(t), rtol=0, atol=1e-6)
        assert any((asked == t).all() for asked in field.asked)


def test_landing_on_a_time_does_not_lose_the_length_of_the_steps() -> None:
    """Three times close together cost a step each, and no growing from the shortest of them afterwards."""
    counts = []
    for times in ([0.0, 1.0], [0.0, 0.5, 0.5 + 1e-7, 0.5 + 2e-7, 1.0]):
        field = Oscillators(3.0)
        Dopri5().solve(field, field.start(), torch.tensor(times, dtype=torch.float64), trajectory=True)
        counts.append(field.nfe)
    assert counts[1] <= counts[0] + 4 * 6


def test_backwards() -> None:
    """F14."""
    field = Oscillators(3.0, 20.0)
    back = Dopri5(1e-8, 1e-8).solve(field, field.at(1), ENDS.flip(0))
    torch.testing.assert_close(back, field.start(), rtol=0, atol=1e-6)


def test_rest_and_zero_take_few_steps() -> None:
    """Neither a state of 0 nor a velocity of 0 says how long a step may be; lengths then grow tenfold."""
    field = Oscillators(0.0, 5.0)
    states = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert torch.equal(Dopri5().solve(field, states, ENDS), states)
    assert field.nfe <= 2 + 6 * 6


def test_float32_and_images() -> None:
    field = Oscillators(4.0)

    class Image(Oscillators):
        def __call__(self, x: Tensor, t: Tensor) -> FlowAndScore:
            flat = super().__call__(x.flatten(1), t)
            assert t.shape == (1,)
            assert t.dtype == torch.float32
            return FlowAndScore(self.path, x, t, flat.flow.view_as(x).float())

    end = Dopri5(1e-6, 1e-6).solve(Image(4.0), field.start().float().view(1, 1, 2, 1), ENDS)
    assert end.dtype == torch.float32
    torch.testing.assert_close(end.view(1, 2).double(), field.at(1), rtol=0, atol=1e-5)


def test_the_solution_is_differentiable() -> None:
    """The Jacobian of a turn is the turn."""
    field = Oscillators(2.0)
    x = field.start().clone().requires_grad_()
    jacobian = torch.autograd.functional.jacobian(lambda x: Dopri5(1e-8, 1e-8).solve(field, x, ENDS), x).squeeze()
    torch.testing.assert_close(jacobian[:, 0], field.at(1)[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(jacobian[:, 1], field.at(1 + math.pi / 4)[0], rtol=0, atol=1e-6)


def test_too_many_evaluations_are_refused_in_one_line() -> None:
    field = Oscillators(1.0, 1e4)
    with pytest.raises(
        UserError, match=r"^solver.max_evaluations: \d+ evaluations led to t = 0\.0\d+ only, on the way to 1\n"
    ) as error_info:
        Dopri5(max_evaluations=500).solve(field, field.start(), ENDS)
    assert "\n" not in error_info.value.message
    assert "loosen" in (error_info.value.hint or "")
    assert field.nfe <= 500


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_field_that_is_not_finite_is_told_at_once(bad: float) -> None:
    class Broken(Oscillators):
        def __call__(self, x: Tensor, t: Tensor) -> FlowAndScore:
            evaluation = super().__call__(x, t)
            return FlowAndScore(self.path, x, t, torch.where(t[:, None] > 0.3, bad, evaluation.flow))

    field = Broken(1.0)
    with pytest.raises(UserError, match=r"step at t = 0\.3 is shorter|step at t = 0\.2999"):
        Dopri5().solve(field, field.start(), ENDS)
    with pytest.raises(UserError, match="step at t = 1"):
        Dopri5().solve(field, field.start(), ENDS.flip(0))


def test_tolerances_are_checked() -> None:
    with pytest.raises(UserError, match="not negative"):
        Dopri5(rtol=-1e-5)
    with pytest.raises(UserError, match="positive"):
        Dopri5(atol=0)
    with pytest.raises(UserError, match="two times"):
        Dopri5().solve(Oscillators(1.0), torch.zeros(1, 2), ENDS[:1])
