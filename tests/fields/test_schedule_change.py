"""A field followed along another path than it was trained on (fact F2)."""

from __future__ import annotations

import itertools
import math
import warnings

import pytest
import torch
from helpers.every_path import PATHS

from fmlab.distributions import GaussianMixture
from fmlab.errors import UserError
from fmlab.fields import ExactField, GuidedField, LearnedField, Sampling, ScheduleChange, generate, guided
from fmlab.fields.schedule_change import log_snr_range
from fmlab.paths import EDM, VE, VP, CondOT, Cosine, GaussianPath, Interpolant, LinearVP, Polynomial, Sqrt, SubVP
from fmlab.solvers import Euler, EulerMaruyama, Heun, UniformGrid

KINDS = ("velocity", "score", "noise", "data")
OUTPUTS = (*KINDS, "velocity_and_score")


def mixture(shift: float = 0.0) -> GaussianMixture:
    return GaussianMixture(
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        torch.tensor([[2.0, 0.0], [-1.0, 1.5 + shift]], dtype=torch.float64),
        torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.4]]], dtype=torch.float64),
    )


def changed(trained: GaussianPath, path: GaussianPath, shift: float = 0.0) -> ScheduleChange:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ScheduleChange(ExactField(mixture(shift), trained), path)


def on(path: GaussianPath, t: torch.Tensor) -> torch.Tensor:
    """Points of the path, one a time."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(t), 2, generator=generator, dtype=torch.float64)
    return path.sample(mixture().sample(len(t), generator), noise, t)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_the_changed_field_is_the_new_paths_own(path: GaussianPath) -> None:
    """F2: of a mixture of Gaussians, trained on any path, in all four quantities; the identity is among the changes."""
    t = torch.linspace(0.03, 0.97, 33, dtype=torch.float64)
    x, exact = on(path, t), ExactField(mixture(), path)
    for trained in PATHS:
        low, high = log_snr_range(trained)
        inside = (path.log_snr(t) >= low) & (path.log_snr(t) <= high)
        assert inside.sum() > 10
        result, expected = changed(trained, path)(x[inside], t[inside]), exact(x[inside], t[inside])
        for kind in KINDS:
            torch.testing.assert_close(result.as_kind(kind), expected.as_kind(kind), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("trained", "path"),
    [(CondOT(), Cosine()), (Cosine(), Polynomial(2)), (VP(), SubVP()), (LinearVP(), EDM()), (EDM(), VE())],
    ids=repr,
)
def test_the_velocity_is_the_transformed_one(trained: GaussianPath, path: GaussianPath) -> None:
    """F2: u(x, r) = s'/s x + s t' u_old(x/s, t), with s = B / b and t of equal log-SNR, differentiated by autograd."""
    r = torch.linspace(0.1, 0.8, 15, dtype=torch.float64).requires_grad_()
    t = trained.log_snr_inverse(path.log_snr(r))
    s = path.beta(r) / trained.beta(t)
    torch.testing.assert_close(s, path.alpha(r) / trained.alpha(t))
    (t_dot,) = torch.autograd.grad(t.sum(), r, retain_graph=True)
    (s_dot,) = torch.autograd.grad(s.sum(), r)
    r, t, s = r.detach(), t.detach(), s.detach()[:, None]
    x = on(path, r)
    old = ExactField(mixture(), trained)(x / s, t).velocity
    expected = s_dot[:, None] / s * x + s * t_dot[:, None] * old
    torch.testing.assert_close(changed(trained, path)(x, r).velocity, expected, rtol=1e-9, atol=1e-9)


def test_the_same_map_from_noise_to_data() -> None:
    """F2: paths that reach both ends share their flow map, so a fine solve along any of them gives the same samples."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ends = []
    for path in (None, Cosine(), Polynomial(1.5)):
        field = ExactField(mixture(), CondOT()) if path is None else changed(CondOT(), path)
        ends.append(Heun().solve(field, x, UniformGrid()(200, field.path)))
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=0, atol=2e-3)


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_kind_of_network_can_be_changed(output: str) -> None:
    """From a perfect network's one output; in float32, at every time and both ends, whatever t's shape."""
    trained, path = Cosine(), Sqrt()

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert x.dtype == t.dtype == torch.float32
        answer = ExactField(mixture(), trained)(x.double(), t.double())
        if output == "velocity_and_score":
            return torch.stack([answer.velocity, answer.score], 1).float()
        return answer.as_kind(output).float()

    field = ScheduleChange(LearnedField(network, trained, output), path)
    t = torch.linspace(0.05, 0.95, 19)
    x = on(path, t.double()).float()
    result, expected = field(x, t), ExactField(mixture(), path)(x.double(), t.double())
    for kind in KINDS:
        torch.testing.assert_close(result.as_kind(kind).double(), expected.as_kind(kind), rtol=1e-3, atol=1e-3)
        single = field(x, torch.tensor(0.3)).as_kind(kind)
        torch.testing.assert_close(single, field(x, torch.full((19,), 0.3)).as_kind(kind))
        assert single.dtype == torch.float32
        for end in (0.0, 1.0):
            assert torch.isfinite(field(x, torch.tensor(end)).as_kind(kind)).all()
    images = torch.randn(3, 1, 2, 2)
    seen = ScheduleChange(LearnedField(lambda x, t: x, trained), path)(images, torch.tensor([0.1, 0.5, 0.9]))
    assert seen.velocity.shape == seen.score.shape == images.shape


def test_the_two_heads_stay_apart() -> None:
    """The velocity comes from the flow's head and the score from the score's, even where they contradict each other."""
    x, t = torch.randn(4, 2), torch.tensor([0.2, 0.4, 0.6, 0.8])

    def heads(score: float) -> ScheduleChange:
        return ScheduleChange(
            LearnedField(lambda x, t: torch.stack([x, score * x], 1), CondOT(), "velocity_and_score"), Cosine()
        )

    alone = ScheduleChange(LearnedField(lambda x, t: x, CondOT()), Cosine())
    torch.testing.assert_close(heads(5.0)(x, t).velocity, alone(x, t).velocity)
    torch.testing.assert_close(heads(6.0)(x, t).score, 2 * heads(3.0)(x, t).score)


def test_guidance_commutes_with_the_change() -> None:
    """F2, F21: guided then changed is changed then guided, in all four quantities."""
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    x = on(Cosine(), t)
    fields = [ExactField(mixture(shift), CondOT()) for shift in (0.0, 1.0)]
    inside = ScheduleChange(GuidedField(*fields, 3.0), Cosine())(x, t)
    outside = GuidedField(*(ScheduleChange(field, Cosine()) for field in fields), 3.0)(x, t)
    for kind in KINDS:
        torch.testing.assert_close(inside.as_kind(kind), outside.as_kind(kind), rtol=1e-10, atol=1e-10)


def test_forwards_are_those_of_the_wrapped_field() -> None:
    """One a step, two where it is guided; setting them back reaches the wrapped field."""

    def network(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return x

    for scale, expected in ((1.0, 5), (2.0, 10)):
        inner = guided(LearnedField(network, CondOT(), "velocity", torch.arange(3)), scale)
        field = ScheduleChange(inner, VP())
        Euler().solve(field, torch.randn(3, 2), UniformGrid()(5, field.path))
        assert field.nfe == inner.nfe == expected
        field.nfe = 0
        assert inner.nfe == 0


def test_it_is_differentiable() -> None:
    """In x and in t, the ends of time and the clamped ranges included for x."""
    field = changed(VP(), CondOT())
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.3, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, t: field(x, t).velocity, (x, t))
    for end in (0.0, 0.003, 1.0):
        at = torch.tensor(end, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda x, at=at: (field(x, at).velocity, field(x, at).data), (x,))
    ends = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(changed(EDM(), Cosine())(x, ends).velocity.sum(), x)
    assert torch.isfinite(gradient).all()


# Beyond what was trained ----------------------------------------------------------------------------------------------


def test_a_mismatch_is_warned_of_once_and_measured() -> None:
    """Both paths and their log-SNRs in one line; VP knows no less than 0.0066 of data, EDM nothing below 0.002."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        field = ScheduleChange(ExactField(mixture(), VP()), CondOT())
        field(torch.randn(3, 2), torch.tensor(0.0))
    assert [str(result.message) for result in caught] == [
        "CondOT(sigma_min=0.0) has log-SNR from -inf to inf, the model was trained on VP(beta_min=0.1, beta_max=20.0) "
        "from -10.05 to 9.115: before t = 0.006529 and after t = 0.9896 the nearest trained time answers"
    ]
    assert field.mismatch == pytest.approx((math.exp(-10.05 / 2), math.exp(-9.116 / 2)), rel=1e-2)
    with pytest.warns(UserWarning, match=r"before t = 0\.01235 and after t = 0\.998 the nearest"):
        field = ScheduleChange(ExactField(mixture(), EDM()), CondOT())
    assert field.mismatch == pytest.approx((1 / 80, 0.002))
    with pytest.warns(UserWarning, match=r"on CondOT\(sigma_min=0\.1\) from -inf to 4\.605: after t = 0\.9091 the"):
        field = ScheduleChange(ExactField(mixture(), CondOT(0.1)), CondOT())
    assert field.mismatch == pytest.approx((0, 0.1))


@pytest.mark.parametrize(
    ("trained", "path"),
    [(CondOT(), VP()), (CondOT(), EDM()), (Cosine(), Cosine()), (VP(), VP()), (VE(0.002, 80), EDM()), (SubVP(), VP())],
    ids=repr,
)
def test_within_the_trained_range_nothing_is_said(trained: GaussianPath, path: GaussianPath) -> None:
    """Nor where they differ by no more than rounding, or by what nobody sees (sub-VP starts at 1e-7 less noise)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ScheduleChange(ExactField(mixture(), trained), path).mismatch == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize("trained", [VP(), EDM(), VE(), CondOT(0.01), Polynomial(2, 0.01)], ids=repr)
def test_beyond_the_trained_range_the_field_stays_near_and_consistent(trained: GaussianPath) -> None:
    """x = A z + B eps at every time, so no step is too small; and the velocity is off by no more than the mismatch."""
    path, field = CondOT(), changed(trained, CondOT())
    before, after = field.mismatch
    for time in [0.0, before / 3, before, 0.5, 1 - after, 1 - after / 3, 1.0]:
        t = torch.full((200,), time, dtype=torch.float64)
        x = on(path, t)
        result, exact = field(x, t), ExactField(mixture(), path)(x, t)
        torch.testing.assert_close(t[:, None] * result.data + (1 - t[:, None]) * result.noise, x)
        error = (result.velocity - exact.velocity).abs().max()
        assert error < 8 * max(before, after), (time, error)


def test_a_solve_beyond_the_trained_range_gives_the_law() -> None:
    """VP's field along the straight path, and EDM's: samples differ from the exact field's by about the mismatch."""
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = UniformGrid()(200, CondOT())
    exact = Heun().solve(ExactField(mixture(), CondOT()), x, times)
    for trained in (VP(), EDM()):
        result = Heun().solve(changed(trained, CondOT()), x, times)
        assert (result - exact).abs().mean() < 1e-3


def test_a_path_that_is_not_gaussian_is_refused() -> None:
    field = LearnedField(lambda x, t: x, Interpolant())
    with pytest.raises(UserError, match="a change of schedule needs a Gaussian path, here is Interpolant"):
        ScheduleChange(field, CondOT())


# Sampling along a path ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [Euler(), EulerMaruyama()], ids=repr)
def test_sampling_along_a_path(solver) -> None:
    """It starts where that path starts, steps on its grid, and ends in the data; the trained path stays the default."""
    started = []

    def make(labels: torch.Tensor | None) -> ExactField:
        return ExactField(mixture(), CondOT())

    def start(seeds, shape, device) -> torch.Tensor:
        x = torch.randn(len(seeds), *shape, generator=torch.Generator().manual_seed(seeds[0]), dtype=torch.float64)
        started.append(x)
        return x

    path = EDM()
    sampling = Sampling(solver, 60, UniformGrid(), path)
    (generated,) = generate(make, sampling, range(400), (2,), start=start, batch_size=400)
    assert generated.nfe == 60
    samples = generated.samples
    torch.testing.assert_close(samples.mean(0), mixture().mean, rtol=0, atol=0.25)
    if isinstance(solver, Euler):
        field = ScheduleChange(make(None), path)
        by_hand = Euler().solve(field, 80 * started[0], UniformGrid()(60, path))
        torch.testing.assert_close(samples, by_hand)
    plain = Sampling(solver, 4, UniformGrid())
    assert plain.path is None
    (first,) = generate(make, plain, range(3), (2,))
    (again,) = generate(make, Sampling(solver, 4, UniformGrid(), CondOT()), range(3), (2,))
    torch.testing.assert_close(again.samples, first.samples, rtol=0, atol=1e-5)


def test_pairs_cover_every_range_case() -> None:
    """The tests above meet paths that reach both ends, one end and neither."""
    reached = {(p.alpha_vanishes_at_start, p.beta_vanishes_at_end) for p in PATHS}
    assert reached == set(itertools.product((True, False), repeat=2))
