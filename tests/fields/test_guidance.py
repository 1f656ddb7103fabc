"""Guidance of every kind round exact and learned fields (facts F20, F21)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fmlab.distributions import Gaussian, GaussianMixture
from fmlab.errors import UserError
from fmlab.fields import (
    ExactField,
    Guidance,
    GuidedField,
    LearnedField,
    PathField,
    Sampling,
    ScheduleChange,
    collect,
    generate,
    guided,
)
from fmlab.paths import VP, CondOT, Cosine, GaussianPath, Interpolant, Polynomial
from fmlab.solvers import Dopri5, Euler, Heun, UniformGrid

KINDS = ("velocity", "score", "noise", "data")
PATHS = [CondOT(), Cosine(), VP(), Polynomial(2)]
# Times that float32 holds exactly, on both sides of the intervals below.
T = torch.tensor([0.125, 0.25, 0.5, 0.625, 0.875], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 0, 1, 0])
EVERY = {
    "plain": Guidance(3.0),
    "negative": Guidance(0.25),
    "interval": Guidance(3.0, interval=(0.25, 0.625)),
    "projected": Guidance(3.0, eta=0.0),
    "limited": Guidance(3.0, norm_threshold=0.3),
    "rescaled": Guidance(3.0, rescale=1.0),
    "all": Guidance(4.0, interval=(0.2, 0.7), rescale=0.7, eta=0.5, norm_threshold=0.5),
}


def mixture(shift: float = 0.0, dimension: int = 4) -> GaussianMixture:
    """Two classes of unequal weight and shape, which overlap."""
    generator = torch.Generator().manual_seed(3)
    means = 0.7 * torch.randn(2, dimension, generator=generator, dtype=torch.float64) + shift
    roots = torch.randn(2, dimension, dimension, generator=generator, dtype=torch.float64) / 2
    return GaussianMixture(torch.tensor([0.3, 0.7], dtype=torch.float64), means, roots @ roots.mT)


def points(n: int = 5, *event: int) -> Tensor:
    return 1.5 * torch.randn(n, *(event or (4,)), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def perfect(kind: str, path: GaussianPath, law: GaussianMixture) -> Callable[..., Tensor]:
    """A network that outputs the exact field's quantity."""

    def network(x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        return ExactField(law, path, condition)(x, t.double()).as_kind(kind)

    return network


def learned(kind: str, path: GaussianPath, law: GaussianMixture, labels: Tensor | None = LABELS) -> LearnedField:
    return LearnedField(perfect(kind, path, law), path, kind, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("guidance", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_it_commutes_with_conversion(path: GaussianPath, guidance: Guidance) -> None:
    """F21: guiding velocity, score, noise or data is the same, in an interval, projected, limited and rescaled too."""
    expected = guided(ExactField(mixture(), path, LABELS), guidance)(points(), T)
    assert (expected.velocity - ExactField(mixture(), path, LABELS)(points(), T).velocity).abs().max() > 0.01
    for kind in KINDS:
        result = guided(learned(kind, path, mixture()), guidance)(points(), T)
        for asked in KINDS:
            torch.testing.assert_close(result.as_kind(asked), expected.as_kind(asked), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["plain", "projected", "limited", "rescaled"])
def test_it_commutes_with_a_change_of_schedule(name: str) -> None:
    """F2, F21: rules look at the data prediction, which a change of schedule leaves as it is."""
    guidance = EVERY[name]
    fields = [ExactField(mixture(), CondOT(), labels) for labels in (LABELS, None)]
    inside = ScheduleChange(GuidedField(*fields, guidance), Cosine())(points(), T)
    outside = GuidedField(*(ScheduleChange(field, Cosine()) for field in fields), guidance)(points(), T)
    for kind in KINDS:
        torch.testing.assert_close(inside.as_kind(kind), outside.as_kind(kind), rtol=1e-9, atol=1e-9)


def test_guided_is_not_the_noised_tilted_law() -> None:
    """F21: the guided score at t is that of p_y^w p_null^(1-w) at t, which is not the tilted data law noised to t."""
    path, w, mean, s_y, s_null = CondOT(), 3.0, 1.0, 0.2, 1.0
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]

    def law(centre: float, variance: float) -> Gaussian:
        return Gaussian(torch.tensor([centre], dtype=torch.float64), torch.tensor([[variance]], dtype=torch.float64))

    field = GuidedField(ExactField(law(mean, s_y), path), ExactField(law(0.0, s_null), path), w)
    precision = w / s_y - (w - 1) / s_null
    tilted = ExactField(law(w / s_y * mean / precision, 1 / precision), path)
    for time in (0.3, 0.6, 1.0):
        t = torch.tensor(time, dtype=torch.float64)
        a, b = path.alpha(t), path.beta(t)
        v_y, v_null = a**2 * s_y + b**2, a**2 * s_null + b**2
        torch.testing.assert_close(field(x, t).score, -w * (x - a * mean) / v_y + (w - 1) * x / v_null)
        gap = (field(x, t).score - tilted(x, t).score).abs().max()
        assert gap < 1e-10 if time == 1.0 else gap > 0.5


def test_times_outside_the_interval_are_unguided() -> None:
    """Both ends count as inside, in the precision of t; each point of a batch has its own time."""
    field, guidance = ExactField(mixture(), CondOT(), LABELS), Guidance(3.0, interval=(0.25, 0.625))
    inside = torch.tensor([False, True, True, True, False])
    mixed, plain = guided(field, guidance)(points(), T).velocity, guided(field, 3.0)(points(), T).velocity
    torch.testing.assert_close(mixed[inside], plain[inside])
    assert torch.equal(mixed[~inside], field(points(), T).velocity[~inside])
    for time in (0.1, 0.3, 0.7):
        for dtype in (torch.float32, torch.float64):
            t = torch.tensor(time, dtype=dtype)
            assert Guidance(2.0, interval=(0.1, 0.7)).inside(t) is not None
            assert bool(Guidance(2.0, interval=(0.1, 0.7)).inside(t))


def test_outside_the_interval_one_forward_is_counted() -> None:
    """Ten Euler steps from 0, 0.1, ...: of those at 0.3, 0.4, 0.5 and 0.6 each costs two."""
    for guidance, expected in (
        (Guidance(2.0), 20),
        (Guidance(2.0, interval=(0.28, 0.62)), 14),
        (Guidance(0.0, interval=(0.28, 0.62)), 14),
        (Guidance(0.0), 10),
        (Guidance(0.0, rescale=1.0), 20),
        (Guidance(1.0, rescale=1.0, interval=(0.28, 0.62)), 10),
    ):
        field = guided(learned("velocity", CondOT(), mixture()), guidance)
        Euler().solve(field, points().float(), UniformGrid()(10, field.path))
        assert field.nfe == expected
        field.nfe = 0
        assert field.nfe == 0


def test_the_scale_inside_an_interval_may_be_zero() -> None:
    field = ExactField(mixture(), CondOT(), LABELS)
    result = guided(field, Guidance(0.0, interval=(0.4, 0.6)))(points(), T).velocity
    torch.testing.assert_close(result[2], field.unconditional()(points(), T).velocity[2])
    torch.testing.assert_close(result[[0, 1, 3, 4]], field(points(), T).velocity[[0, 1, 3, 4]])


def flat(x: Tensor) -> Tensor:
    return x.flatten(1)


@pytest.mark.parametrize("event", [(4,), (1, 2, 2)], ids=str)
def test_the_rescaled_deviation_is_the_conditional_ones(event: tuple[int, ...]) -> None:
    """Lin et al. 2024: entirely at phi = 1, in proportion between; the mean of an event is scaled with it."""
    field, x = ExactField(mixture(), Cosine(), LABELS), points(5, *event)
    conditional, plain = field(x, T).data, guided(field, 4.0)(x, T).data
    assert (flat(plain).std(1) - flat(conditional).std(1)).abs()[:4].min() > 0.05
    rescaled = guided(field, Guidance(4.0, rescale=1.0))(x, T).data
    torch.testing.assert_close(flat(rescaled).std(1), flat(conditional).std(1))
    torch.testing.assert_close(flat(rescaled) / flat(plain), (flat(rescaled) / flat(plain))[:, :1].expand(5, 4))
    partly = guided(field, Guidance(4.0, rescale=0.3))(x, T).data
    torch.testing.assert_close(partly, 0.3 * rescaled + 0.7 * plain)


def test_an_event_without_deviation_is_left_as_it_is() -> None:
    law = mixture(dimension=1)
    field = ExactField(law, CondOT(), LABELS)
    result = guided(field, Guidance(4.0, rescale=1.0))(points(5, 1), T)
    torch.testing.assert_close(result.velocity, guided(field, 4.0)(points(5, 1), T).velocity)


@pytest.mark.parametrize("event", [(4,), (1, 2, 2)], ids=str)
def test_the_projection_leaves_what_is_orthogonal(event: tuple[int, ...]) -> None:
    """Sadat et al. 2024: at eta = 0 guidance is orthogonal to the conditional data; it is linear in eta; 1 is plain."""
    field, x = ExactField(mixture(), Cosine(), LABELS), points(5, *event)
    conditional = flat(field(x, T).data)

    def guidance_at(eta: float) -> Tensor:
        return flat(guided(field, Guidance(4.0, eta=eta))(x, T).data) - conditional

    plain = flat(guided(field, 4.0)(x, T).data) - conditional
    assert (plain * conditional).sum(1).abs()[:4].min() > 0.05
    assert (guidance_at(0.0) * conditional).sum(1).abs().max() < 1e-10
    torch.testing.assert_close(guidance_at(1.0), plain)
    torch.testing.assert_close(guidance_at(0.4), 0.6 * guidance_at(0.0) + 0.4 * plain)
    parallel = plain - guidance_at(0.0)
    torch.testing.assert_close(parallel / conditional, (parallel / conditional)[:, :1].expand(5, 4))
    torch.testing.assert_close(flat(guided(field, Guidance(4.0, norm_threshold=1e9))(x, T).data) - conditional, plain)


def test_the_norm_of_the_difference_is_limited() -> None:
    """The difference of the data predictions keeps its direction and has at most the norm r, event by event."""
    field, x, w = ExactField(mixture(), CondOT(), LABELS), points(), 4.0
    conditional, difference = field(x, T).data, field(x, T).data - field.unconditional()(x, T).data
    limit = difference.norm(dim=1).median().item()
    result = (guided(field, Guidance(w, norm_threshold=limit))(x, T).data - conditional) / (w - 1)
    torch.testing.assert_close(result.norm(dim=1), difference.norm(dim=1).clamp(max=limit))
    small = difference.norm(dim=1) <= limit
    assert 0 < small.sum() < len(small)
    torch.testing.assert_close(result[small], difference[small])
    cosine = torch.nn.functional.cosine_similarity(result, difference)[:4]  # at the last there is none to speak of
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_autoguidance_is_away_from_the_weaker_field() -> None:
    """Karras et al. 2024: (1 - w) weak + w strong under one condition; a field that guides itself stays what it is."""
    strong, weak = ExactField(mixture(), CondOT(), LABELS), ExactField(mixture(0.5), CondOT(), LABELS)
    result = guided(strong, 2.5, weak=weak)(points(), T).velocity
    torch.testing.assert_close(result, 2.5 * strong(points(), T).velocity - 1.5 * weak(points(), T).velocity)
    for guidance in EVERY.values():
        torch.testing.assert_close(
            guided(strong, guidance, weak=strong)(points(), T).velocity, strong(points(), T).velocity
        )
    unconditional = ExactField(mixture(), CondOT()), ExactField(mixture(0.5), CondOT())
    assert guided(unconditional[0], 2.0, weak=unconditional[1])(points(), T).velocity.shape == (5, 4)
    field = guided(learned("velocity", CondOT(), mixture()), 2.0, weak=learned("noise", CondOT(), mixture(0.5)))
    torch.testing.assert_close(field(points(), T).score, guided(strong, 2.0, weak=weak)(points(), T).score)
    assert field.nfe == 2


def test_a_guide_on_another_path_is_followed_along_this_one() -> None:
    """F2: the weaker network may have been trained on another Gaussian path."""
    strong = ExactField(mixture(), CondOT(), LABELS)
    same = guided(strong, 2.0, weak=ExactField(mixture(0.5), CondOT(), LABELS))(points(), T).velocity
    other = guided(strong, 2.0, weak=ExactField(mixture(0.5), Cosine(), LABELS))(points(), T).velocity
    torch.testing.assert_close(other, same)
    with pytest.raises(UserError, match="Gaussian path, here is Interpolant"):
        guided(strong, 2.0, weak=LearnedField(lambda x, t, y: x, Interpolant(), "velocity", LABELS))


def test_interval_rescaling_and_autoguidance_combine() -> None:
    """By the definitions one after the other, on the data prediction."""
    strong, weak = ExactField(mixture(), CondOT(), LABELS), ExactField(mixture(0.5), CondOT(), LABELS)
    guidance = Guidance(3.0, interval=(0.25, 0.625), rescale=0.7, eta=0.0)
    result = guided(strong, guidance, weak=weak)(points(), T).data
    data, difference = strong(points(), T).data, strong(points(), T).data - weak(points(), T).data
    along = (difference * data).sum(1, keepdim=True) / data.square().sum(1, keepdim=True) * data
    mixed = data + 2.0 * (difference - along)
    expected = (0.7 * data.std(1, keepdim=True) / mixed.std(1, keepdim=True) + 0.3) * mixed
    torch.testing.assert_close(result[1:4], expected[1:4])
    torch.testing.assert_close(result[[0, 4]], data[[0, 4]])


@pytest.mark.parametrize("solver", [Heun(), Dopri5()], ids=lambda solver: type(solver).__name__)
def test_same_seeds_same_samples_at_any_batch_size(solver: Heun | Dopri5) -> None:
    """Every rule looks at one event alone, so that neither the batch nor the others' times matter."""

    def make(labels: Tensor | None) -> PathField:
        field = ExactField(mixture(), CondOT(), labels)
        return guided(field, Guidance(2.0, interval=(0.0, 0.7), rescale=0.5, eta=0.5, norm_threshold=1.0))

    labels = torch.arange(6) % 2
    whole, parts = (
        collect(generate(make, Sampling(solver, 6, UniformGrid()), range(6), (4,), labels, batch_size=size)).samples
        for size in (6, 4)
    )
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-5)
    assert torch.isfinite(whole).all()


def test_every_rule_is_finite_at_the_ends_of_time() -> None:
    for kind in KINDS:
        for guidance in EVERY.values():
            for time in (0.0, 1.0):
                for path in PATHS:
                    field = guided(learned(kind, path, mixture()), guidance)
                    result = field(points().float().double(), torch.tensor(time))
                    assert all(torch.isfinite(result.as_kind(asked)).all() for asked in KINDS)


def test_without_a_gaussian_path_there_are_scale_and_interval() -> None:
    """The other rules look at the data prediction, which is not known there."""
    field = LearnedField(lambda x, t, y=None: x if y is None else 2 * x, Interpolant(), "velocity", LABELS)
    x = points()
    torch.testing.assert_close(guided(field, Guidance(3.0, interval=(0.2, 0.7)))(x, T).velocity[1:4], 4 * x[1:4])
    for guidance in (Guidance(3.0, rescale=0.5), Guidance(3.0, eta=0.0), Guidance(3.0, norm_threshold=1.0)):
        with pytest.raises(UserError, match="not Gaussian"):
            guided(field, guidance)(x, T)


def test_guided_fields_are_differentiable() -> None:
    x = points(2).requires_grad_()
    field = guided(ExactField(mixture(), CondOT(), LABELS[:2]), EVERY["all"])
    assert torch.autograd.gradcheck(lambda x: field(x, torch.tensor(0.5, dtype=torch.float64)).velocity, (x,))


def test_guidance_is_plain_data() -> None:
    """A number is the plain scale; a record holds the whole, a file's name what differs from the defaults."""
    guidance = Guidance(2.0, interval=(0.1, 0.9), rescale=0.7, weak="runs/digits/20261123-061203-a1b2@last")
    setting = json.loads(json.dumps(guidance.setting()))
    assert Guidance(**setting) == guidance
    assert guidance.name == "w2_interval0.1-0.9_rescale0.7_weak20261123-061203-a1b2@last"
    assert Guidance.of(1.5) == Guidance(1.5)
    assert Guidance.of(guidance) is guidance
    assert (Guidance(1.5).name, Guidance().name) == ("w1.5", "w1")
    assert Guidance(2.0, eta=0.0).changes == {"scale": 2.0, "eta": 0.0}


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"interval": (0.9, 0.1)}, "guidance.interval"),
        ({"interval": (-0.1, 0.5)}, "guidance.interval"),
        ({"interval": (0.1,)}, "guidance.interval"),
        ({"rescale": 1.1}, "guidance.rescale"),
        ({"norm_threshold": 0.0}, "guidance.norm_threshold"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict, key: str) -> None:
    with pytest.raises(UserError) as caught:
        Guidance(**arguments)
    assert caught.value.key == key


def test_a_named_run_has_to_be_given() -> None:
    field = ExactField(mixture(), CondOT(), LABELS)
    for name in ("weak", "classifier"):
        with pytest.raises(UserError, match="only a finished run") as caught:
            guided(field, Guidance(2.0, **{name: "digits"}))
        assert caught.value.key == f"guidance.{name}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert guided(field, Guidance(1.0, rescale=1.0)) is field
