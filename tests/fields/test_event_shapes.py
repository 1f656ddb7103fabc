"""Points, images, video and molecules go the same way through path, exact field, guidance, solver and distances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fmlab.distributions import Empirical, Gaussian, GaussianMixture
from fmlab.fields import ExactField, Sampling, collect, generate, guided
from fmlab.metrics.kernel import MaximumMeanDiscrepancy
from fmlab.metrics.transport import Wasserstein2
from fmlab.paths import VP, CondOT
from fmlab.solvers import Euler, EulerMaruyama, Heun, UniformGrid

SHAPES = [(2,), (3, 4, 4), (2, 3, 4, 4), (5, 3)]
KINDS = ["gaussian", "mixture", "empirical"]
CLASSES = 3


def make_law(kind: str, shape: tuple[int, ...]) -> Gaussian | GaussianMixture | Empirical:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(CLASSES, *shape, generator=generator)
    flat = means.flatten(1)
    if kind == "gaussian":
        return Gaussian(flat[0], 0.04 * torch.eye(flat.shape[1]))
    if kind == "mixture":
        return GaussianMixture(torch.ones(CLASSES), flat, 0.04 * torch.eye(flat.shape[1]).expand(CLASSES, -1, -1))
    return Empirical(means.repeat(4, *[1] * len(shape)), torch.arange(4 * CLASSES) % CLASSES)


def batch(shape: tuple[int, ...], n: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, *shape, generator=generator), torch.rand(n, generator=generator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_event_shape(kind: str, shape: tuple[int, ...]) -> None:
    """The field of shaped points is that of flattened ones, and a solver takes them to the data."""
    law, path = make_law(kind, shape), CondOT()
    x, t = batch(shape)
    point = path.draw(x, torch.randn_like(x), t)
    assert point.x.shape == point.velocity.shape == x.shape
    result, flat = ExactField(law, path)(point.x, t), ExactField(law, path)(point.x.flatten(1), t)
    for quantity in ("velocity", "score", "noise", "data"):
        assert getattr(result, quantity).shape == x.shape
        torch.testing.assert_close(getattr(result, quantity).flatten(1), getattr(flat, quantity))
    for solver in (Euler(), Heun(), EulerMaruyama()):
        end = solver.solve(ExactField(law, path), path.initial(x), UniformGrid()(10, path))
        assert end.shape == x.shape
        assert end.isfinite().all()


@pytest.mark.parametrize("kind", ["mixture", "empirical"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_condition_of_any_event_shape(kind: str, shape: tuple[int, ...]) -> None:
    """Each row of a batch sees its own class, "no label" the whole law; the solver ends in the class asked for."""
    law, path = make_law(kind, shape), VP()
    x, t = batch(shape)
    labels = torch.tensor([2, 0, CLASSES, 1, 0, CLASSES, 2])
    together = ExactField(law, path, labels)(x, t)
    for row, label in enumerate(labels.tolist()):
        part = law if label == CLASSES else law.restricted(label)
        alone = ExactField(part, path)(x[row : row + 1], t[row : row + 1])
        for quantity in ("velocity", "score", "noise", "data"):
            torch.testing.assert_close(getattr(together, quantity)[row], getattr(alone, quantity)[0], msg=quantity)
    whole = ExactField(law, path, labels).unconditional()(x, t).velocity
    torch.testing.assert_close(whole[labels == CLASSES], together.velocity[labels == CLASSES])
    path, classes = CondOT(), torch.arange(7) % CLASSES
    for scale in (1.0, 1.5):
        field = guided(ExactField(law, path, classes), scale)
        end = Heun().solve(field, x, UniformGrid()(20, path))
        means = torch.stack([make_law("empirical", shape).restricted(label).points[0] for label in range(CLASSES)])
        assert torch.equal(torch.cdist(end.flatten(1), means.flatten(1)).argmin(1), classes)


def test_samples_of_an_exact_field_are_samples_of_the_law() -> None:
    """Metrics take what a solver makes of an exact field: the distance is what two sets of real samples have."""
    law, sampling, labels = make_law("mixture", (2,)), Sampling(Heun(), 20, UniformGrid()), torch.arange(300) % CLASSES
    real = [
        torch.cat([law.restricted(label).sample(100, torch.Generator().manual_seed(seed)) for label in range(CLASSES)])
        for seed in (3, 4)
    ]
    batches = generate(
        lambda given: guided(ExactField(law, CondOT(), given), 1.0), sampling, range(300), (2,), labels, batch_size=90
    )
    generated = collect(batches).samples
    for make in (Wasserstein2, MaximumMeanDiscrepancy):
        distances = []
        for samples in (real[1], generated, real[1] + 0.5):
            metric = make(real[0])
            metric.update(samples)
            distances.append(float(next(iter(metric.compute().values()))))
        between, exact, shifted = distances
        assert exact < 2 * abs(between) + 0.05 * shifted < shifted
