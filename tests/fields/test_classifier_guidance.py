"""A condition by Bayes' rule with a classifier of noisy points (fact F39)."""

from __future__ import annotations

import pytest
import torch
from test_guidance import EVERY, LABELS, T, mixture, points
from torch import Tensor

from fmlab.distributions import Gaussian, GaussianMixture
from fmlab.errors import UserError
from fmlab.fields import ClassifierConditioned, ExactField, LearnedClassifier, LearnedField, guided
from fmlab.paths import EDM, VE, VP, CondOT, Cosine, GaussianPath, Interpolant, LinearVP, Polynomial
from fmlab.solvers import Euler, UniformGrid

KINDS = ("velocity", "score", "noise", "data")
PATHS = [CondOT(), CondOT(0.1), Cosine(), VP(), Polynomial(2), LinearVP(), VE(), EDM()]


class ExactClassifier:
    """log p_t(y | x) of a mixture's components, from their densities at t."""

    def __init__(self, law: GaussianMixture, path: GaussianPath) -> None:
        self.law, self.path, self.calls = law, path, 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        rows = []
        for row, time in zip(x, t.double().expand(len(x))):
            noisy = self.law.diffused(self.path.alpha(time), self.path.beta(time))
            rows.append(noisy.responsibilities(row[None]).log())
        return torch.cat(rows)


def pair(path: GaussianPath) -> tuple[ExactField, ExactClassifier]:
    return ExactField(mixture(), path, LABELS), ExactClassifier(mixture(), path)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_it_is_classifier_free_guidance_at_the_same_scale(path: GaussianPath) -> None:
    """F39: v_null + w (beta D / alpha) grad log p_t(y | x), with the exact posterior, in all four quantities."""
    field, classifier = pair(path)
    x = points() * path.beta(T)[:, None].clamp(min=1)
    for scale in (0.0, 0.5, 1.0, 2.0, 4.0):
        result, free = guided(field, scale, classifier=classifier)(x, T), guided(field, scale)(x, T)
        for kind in KINDS:
            torch.testing.assert_close(result.as_kind(kind), free.as_kind(kind), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("guidance", EVERY.values(), ids=EVERY)
def test_it_takes_every_rule(guidance) -> None:
    """F39: intervals, projection and rescaling see the same pair of predictions, whoever brought the condition."""
    field, classifier = pair(CondOT())
    result, free = guided(field, guidance, classifier=classifier)(points(), T), guided(field, guidance)(points(), T)
    torch.testing.assert_close(result.velocity, free.velocity, rtol=1e-9, atol=1e-9)


def test_a_weaker_network_takes_its_condition_from_the_classifier_too() -> None:
    """(1 - w) weak + w strong, each moved by the same gradient: exact where both laws give the same posterior."""
    field, classifier = pair(CondOT())
    gradient = ClassifierConditioned(field.unconditional(), classifier, LABELS)(points(), T).velocity
    gradient = gradient - field.unconditional()(points(), T).velocity
    weak = ExactField(mixture(0.5), CondOT(), LABELS)
    result = guided(field, 3.0, weak=weak, classifier=classifier)(points(), T).velocity
    strong, guide = (part.unconditional()(points(), T).velocity for part in (field, weak))
    torch.testing.assert_close(result, 3 * strong - 2 * guide + gradient)
    other = guided(field, 3.0, weak=ExactField(mixture(0.5), Cosine(), LABELS), classifier=classifier)
    torch.testing.assert_close(other(points(), T).velocity, result)


def test_a_step_costs_one_forward_of_each_network() -> None:
    """The field without condition is evaluated once a step, at any scale; at scale 0 the classifier is not asked."""
    for scale, expected, asked in ((0.0, 5, 0), (1.0, 10, 5), (2.0, 10, 5)):
        seen = []

        def network(x: Tensor, t: Tensor, seen: list = seen) -> Tensor:
            seen.append(len(x))
            return x

        classifier = ExactClassifier(mixture(), CondOT())
        field = guided(LearnedField(network, CondOT(), "velocity", LABELS), scale, classifier=classifier)
        Euler().solve(field, points(), UniformGrid()(5, field.path))
        assert (field.nfe, classifier.calls, len(seen)) == (expected, asked, 5)
        field.nfe = 0
        assert field.nfe == 0


def test_it_needs_no_gradients_around_it_and_gives_them_where_asked() -> None:
    field, classifier = pair(CondOT())
    t = torch.tensor(0.5, dtype=torch.float64)
    x = points()
    around = guided(field, 2.0, classifier=classifier)
    with torch.no_grad():
        without = around(x, t).velocity
    assert not without.requires_grad
    assert not x.requires_grad
    x = points()[:2].requires_grad_()
    around = guided(ExactField(mixture(), CondOT(), LABELS[:2]), 2.0, classifier=classifier)
    assert torch.autograd.gradcheck(lambda x: around(x, t).velocity, (x,))
    torch.testing.assert_close(around(x, t).velocity, without[:2])


def test_near_the_start_it_is_asked_where_alpha_is_not_zero() -> None:
    """At t = 0 the gradient and what it is divided by are taken at one clipped time, and stay near the limit (F7)."""
    field, classifier = pair(CondOT())
    seen = []

    def spy(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return classifier(x, t)

    zero = torch.zeros((), dtype=torch.float64)
    result = guided(field, 2.0, classifier=spy)(points(), zero).velocity
    assert [t.item() for t in seen] == [0.01]
    free, alone = guided(field, 2.0)(points(), zero).velocity, field.unconditional()(points(), zero).velocity
    assert (result - free).norm() < 0.1 * (alone - free).norm()


def test_what_it_cannot_work_on_is_refused() -> None:
    field, classifier = pair(CondOT())
    with pytest.raises(UserError, match="without labels"):
        guided(field.unconditional(), 1.0, classifier=classifier)
    with pytest.raises(UserError, match="one label per point"):
        guided(field, 2.0, classifier=classifier)(points(3), T[:3])
    with pytest.raises(UserError, match="classifier guidance needs a Gaussian path"):
        guided(LearnedField(lambda x, t: x, Interpolant(), "velocity", LABELS), 2.0, classifier=classifier)
    with pytest.raises(UserError, match="score is not known"):
        guided(
            LearnedField(lambda x, t: x, CondOT().with_dependent_pairs(), "velocity", LABELS), 1, classifier=classifier
        )


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_networks_logits_are_log_probabilities(path: GaussianPath) -> None:
    """Normalised, in float32 or better, whatever t's shape; the network sees E[z | x] of standard normal data."""
    seen = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x, t))
        return x[:, :3].to(torch.bfloat16)

    classifier, normal = LearnedClassifier(network, path), Gaussian(torch.zeros(4), torch.eye(4))
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    for time in (0.0, 0.02, 0.5, 1.0):
        result = classifier(x, torch.tensor(time))
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.exp().sum(1), torch.ones(50))
        assert torch.equal(result, classifier(x, torch.full((50,), time)))
        shown, t = seen[-1]
        torch.testing.assert_close(shown, ExactField(normal, path)(x, path.clip(torch.tensor(time), "velocity")).data)
        assert t.shape == (50,)
        assert t.dtype == torch.float32


def test_a_networks_gradient_vanishes_with_the_data() -> None:
    """What is divided by alpha is in proportion to alpha, so that a network's error is not blown up near t = 0."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.SiLU(), torch.nn.Linear(16, 3)).double()
    classifier = LearnedClassifier(lambda x, t: network(x), CondOT())
    field = ClassifierConditioned(ExactField(mixture(), CondOT()), classifier, LABELS)
    moved = []
    for time in (0.011, 0.02, 0.04):
        t = torch.tensor(time, dtype=torch.float64)
        moved.append(field(points(), t).velocity - field.field(points(), t).velocity)
    assert 0.5 < (moved[0].norm() / moved[2].norm()).item() < 2
