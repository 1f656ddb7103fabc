"""Log-likelihoods by the flow against densities in closed form (fact F23)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fmlab.distributions import Gaussian, GaussianMixture, three_gaussians
from fmlab.errors import UserError
from fmlab.fields import ExactField, LearnedField, guided
from fmlab.paths import EDM, VE, VP, CondOT, Cosine, FlowAndScore, GaussianPath, Interpolant, Polynomial, SubVP
from fmlab.solvers import (
    AB3,
    RK3,
    RK4,
    Dopri5,
    Euler,
    EulerMaruyama,
    ExactDivergence,
    Heun,
    HutchinsonDivergence,
    Solver,
    UniformGrid,
    initial_log_density,
    log_likelihood,
    seeded_probe,
)


def double(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def mixture() -> GaussianMixture:
    law = three_gaussians()
    covariances = law.covariances.double()
    return GaussianMixture(law.weights.double(), law.means.double(), (covariances + covariances.mT) / 2)


def points(n: int = 6) -> Tensor:
    return mixture().sample(n, torch.Generator().manual_seed(0))


def at_the_ends(law: GaussianMixture, path: GaussianPath) -> tuple[GaussianMixture, GaussianMixture]:
    """The law of the source with which `path.initial` is the path's own law at t = 0, and its law at t = 1."""
    ends = double([0.0, 1.0])
    (a0, a1), (b0, b1) = path.alpha(ends).tolist(), path.beta(ends).tolist()
    return law.diffused(a0 / b0, 1.0), law.diffused(a1, b1)


class Matrix:
    """The field dx/dt = A x, of divergence tr A, which remembers how often it was asked."""

    def __init__(self, matrix: Tensor) -> None:
        self.path, self.matrix, self.nfe = CondOT(), matrix, 0

    def __call__(self, x: Tensor, t: Tensor) -> FlowAndScore:
        self.nfe += 1
        return FlowAndScore(self.path, x, t, (x.flatten(1) @ self.matrix.T).view(x.shape))


def coupled(size: int) -> Tensor:
    return torch.randn(size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_gaussian_log_likelihood_to_the_published_accuracy() -> None:
    """F23: the errors of RK4 at 16, 32, 64 and 128 steps on N(1, 0.25) at x = 1.7, and order 4 in between."""
    law, x, path = Gaussian(double([1.0]), double([[0.25]])), double([[1.7]]), CondOT()
    field, times = ExactField(law, path), UniformGrid()
    errors = [
        (log_likelihood(field, x, RK4(), times(steps, path)) - law.log_density(x)).abs().item()
        for steps in (16, 32, 64, 128)
    ]
    assert errors == pytest.approx([9.2e-7, 4.5e-8, 2.4e-9, 1.4e-10], rel=0.02)
    assert math.log2(errors[2] / errors[3]) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize(
    ("path", "accuracy"),
    [
        (CondOT(), 1e-5),
        (CondOT(sigma_min=0.01), 1e-5),
        (Cosine(), 1e-5),
        (Polynomial(2), 1e-5),
        (SubVP(), 1e-5),
        (VP(), 1e-3),  # its velocity is infinite at t = 1, and clipped there
        (VE(), 1e-4),
        (EDM(), 1e-4),
    ],
    ids=repr,
)
def test_log_likelihood_of_a_mixture(path: GaussianPath, accuracy: float) -> None:
    """The density at the path's own end, from the law that the path has at its start."""
    law, x, solver = mixture(), points(4), Dopri5(1e-6, 1e-6)
    source, end = at_the_ends(law, path)
    estimate = log_likelihood(ExactField(law, path), x, solver, UniformGrid()(1, path), source=source)
    assert estimate == pytest.approx(end.log_density(x), abs=accuracy)


def test_the_initial_law_is_the_sampler_s() -> None:
    """Noise scaled by the path, whatever trace of data the path's own law has there."""
    x = points()
    for path in (CondOT(), VP(), VE(sigma_max=3.0)):
        scale = path.beta(double(0.0)).item()
        normal = Gaussian(torch.zeros(2, dtype=torch.float64), scale**2 * torch.eye(2, dtype=torch.float64))
        assert initial_log_density(path, x) == pytest.approx(normal.log_density(x), abs=1e-12)
        stretched = mixture().diffused(scale, 0.0)
        assert initial_log_density(path, x, mixture()) == pytest.approx(stretched.log_density(x), abs=1e-12)


def test_the_source_may_be_any_law_with_a_density() -> None:
    """On dx/dt = A x the density at 1 is that of expm(-A) x at 0, times its determinant."""
    matrix, x = 0.5 * coupled(2), points()
    field = Matrix(matrix)
    field.path = Interpolant()
    estimate = log_likelihood(field, x, RK4(), torch.linspace(0, 1, 65), source=mixture())
    before = x @ torch.linalg.matrix_exp(-matrix).T
    assert estimate == pytest.approx(mixture().log_density(before) - matrix.trace(), abs=1e-7)


@pytest.mark.parametrize("solver", [Euler(), Heun(), RK3(), AB3(), Dopri5()], ids=repr)
def test_every_ode_solver_carries_the_divergence(solver: Solver) -> None:
    """In 3-D with events of shape (1, 3); an error of the solver's own order is left."""
    law = Gaussian(torch.zeros(3, dtype=torch.float64), torch.diag(double([0.3, 1.0, 2.0])))
    field, x = ExactField(law, CondOT()), double([[[0.4, -1.0, 0.3]], [[0.0, 0.5, 2.0]]])
    estimate = log_likelihood(field, x, solver, UniformGrid()(60, CondOT()))
    assert estimate == pytest.approx(law.log_density(x.flatten(1)), abs=0.1 if solver.order == 1 else 2e-3)


def test_a_grid_that_begins_late_starts_from_noise_there() -> None:
    """Samplers put plain noise where the grid begins: the density is that of what they generate."""
    law, path = Gaussian(double([0.5]), double([[0.09]])), CondOT()
    times = torch.linspace(0.1, 1, 41, dtype=torch.float64)
    field, x = ExactField(law, path), double([[0.1], [0.6]])
    ends = RK4().solve(field, double([[0.0], [1.0]]), times)  # the flow of a Gaussian is affine
    offset, slope = ends[0].item(), (ends[1] - ends[0]).item()
    expected = Gaussian(double([offset]), double([[slope**2]])).log_density(x)
    assert log_likelihood(field, x, RK4(), times) == pytest.approx(expected, abs=1e-6)


def test_the_exact_divergence_is_the_trace() -> None:
    field, x = Matrix(coupled(12)), torch.randn(5, 3, 2, 2, dtype=torch.float64)
    velocity, divergence = ExactDivergence().velocity_and_divergence(field, x, double(0.3))
    assert velocity.flatten(1) == pytest.approx(x.flatten(1) @ field.matrix.T)
    assert divergence == pytest.approx(field.matrix.trace().expand(5))
    assert field.nfe == 1, "one evaluation gives both"


@pytest.mark.parametrize("law", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased(law) -> None:
    """F23: the mean over probes is the trace, with the variance of the law's own formula."""
    matrix, n = coupled(4), 20_000
    probe = seeded_probe(range(n), (4,), law=law).double()
    _, estimate = HutchinsonDivergence(probe).velocity_and_divergence(
        Matrix(matrix), torch.zeros(n, 4, dtype=torch.float64), double(0.5)
    )
    symmetric = (matrix + matrix.T) / 2
    variance = 2 * symmetric.square().sum()
    if law == "rademacher":
        variance = variance - 2 * matrix.diagonal().square().sum()
    deviation = variance.sqrt().item()
    assert estimate.mean().item() == pytest.approx(matrix.trace().item(), abs=4 * deviation / math.sqrt(n))
    assert estimate.std().item() == pytest.approx(deviation, rel=0.05)


def test_rademacher_probes_have_no_variance_on_a_diagonal_jacobian() -> None:
    """F23; a Gaussian probe has."""
    law = Gaussian(torch.zeros(3, dtype=torch.float64), torch.diag(double([0.3, 1.0, 2.0])))
    field, times, x = ExactField(law, CondOT()), UniformGrid()(10, CondOT()), torch.ones(4, 3, dtype=torch.float64)
    exact = log_likelihood(field, x, Heun(), times)
    probes = {kind: seeded_probe(range(4), (3,), law=kind) for kind in ("rademacher", "gaussian")}
    estimate = {
        kind: log_likelihood(field, x, Heun(), times, divergence=HutchinsonDivergence(p)) for kind, p in probes.items()
    }
    assert estimate["rademacher"] == pytest.approx(exact, abs=1e-12)
    assert (estimate["gaussian"] - exact).abs().min() > 1e-3


def test_one_probe_serves_the_whole_solve() -> None:
    """With A constant the estimate is log p_0(x_0) - e^T A e to rounding: any other probe on the way would show."""
    matrix, x = 0.3 * coupled(6), torch.randn(8, 6, dtype=torch.float64)
    probe = seeded_probe(range(8), (6,)).double()
    estimate = log_likelihood(
        Matrix(matrix), x, RK4(), torch.linspace(0, 1, 33), divergence=HutchinsonDivergence(probe)
    )
    before = x @ torch.linalg.matrix_exp(-matrix).T
    normal = -0.5 * (before.square().sum(1) + 6 * math.log(2 * math.pi))
    assert estimate == pytest.approx(normal - torch.einsum("bi,ij,bj->b", probe, matrix, probe), abs=1e-6)


def test_hutchinson_s_log_likelihood_is_unbiased() -> None:
    """The mean over many probes of one point is the exact log-likelihood."""
    n, path = 2000, CondOT()
    field, x, times = ExactField(mixture(), path), points(1).expand(n, 2), UniformGrid()(8, path)
    exact = log_likelihood(field, x[:1], RK4(), times).item()
    probe = seeded_probe(range(n), (2,))
    estimate = log_likelihood(field, x, RK4(), times, divergence=HutchinsonDivergence(probe))
    assert estimate.std() > 0.01
    assert estimate.mean().item() == pytest.approx(exact, abs=4 * estimate.std().item() / math.sqrt(n))


class Net(nn.Module):
    """A small network on images of shape (1, 2, 3)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 6))
        self.num_classes = 2

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        label = torch.full_like(t, 2.0) if condition is None else condition.float()
        return self.layers(torch.cat([x.flatten(1), t[:, None], label[:, None]], 1)).view(x.shape)


@pytest.mark.parametrize("solver", [Heun(), Dopri5(1e-4, 1e-4)], ids=repr)
def test_a_learned_field_gives_an_image_the_same_value_in_any_batch(solver: Solver) -> None:
    """Events of any shape; probes belong to images, and so do adaptive steps."""
    field, x, times = LearnedField(Net(), CondOT()), torch.randn(5, 1, 2, 3), UniformGrid()(6, CondOT())

    def values(rows: slice) -> Tensor:
        probe = seeded_probe(range(10, 15)[rows], (1, 2, 3))
        return log_likelihood(field, x[rows], solver, times, divergence=HutchinsonDivergence(probe))

    alone = torch.cat([values(slice(i, i + 1)) for i in range(5)])
    assert values(slice(None)) == pytest.approx(alone, abs=1e-4)
    assert alone.std() > 0.1


def test_probes_differ_between_seeds_and_keys() -> None:
    one, other = seeded_probe([3], (64,), 0), seeded_probe([3, 4], (64,), 1)
    assert set(one.flatten().tolist()) == {-1.0, 1.0}
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(other[0], other[1])
    assert torch.equal(seeded_probe([4], (64,), 1)[0], other[1])
    with pytest.raises(UserError, match="no probe"):
        seeded_probe([0], (2,), law="uniform")  # type: ignore[arg-type]


def test_guidance_at_scale_one_is_the_condition_alone() -> None:
    """The guided field at w = 1 has the class's own density; at w = 0 the density without a class."""
    labels, x, times = torch.tensor([0, 1, 2]), points(3), UniformGrid()(32, CondOT())
    law = mixture()
    field = ExactField(law, CondOT(), labels)
    conditional = torch.stack([law.restricted(int(k)).log_density(x[i : i + 1])[0] for i, k in enumerate(labels)])
    assert log_likelihood(guided(field, 1.0), x, RK4(), times) == pytest.approx(conditional, abs=1e-3)
    assert log_likelihood(guided(field, 0.0), x, RK4(), times) == pytest.approx(law.log_density(x), abs=1e-3)
    assert not torch.allclose(conditional, law.log_density(x), atol=0.1)


def test_its_gradient_is_the_score() -> None:
    """Where gradients are enabled they go through the solve."""
    law, x = mixture(), points().requires_grad_()
    field, times = ExactField(law, CondOT()), UniformGrid()(24, CondOT())
    (gradient,) = torch.autograd.grad(log_likelihood(field, x, RK4(), times).sum(), x)
    assert gradient == pytest.approx(law.score(x.detach()), abs=1e-2)
    assert not log_likelihood(field, points(), Heun(), times[:3]).requires_grad


class Halting:
    """A field whose velocity is not differentiable in x."""

    path = CondOT()

    def __init__(self, velocity) -> None:
        self.velocity = velocity

    def __call__(self, x: Tensor, t: Tensor) -> FlowAndScore:
        return FlowAndScore(self.path, x, t, self.velocity(x))


def test_what_has_no_likelihood_is_refused_in_one_line() -> None:
    x, times = points(), UniformGrid()(4, CondOT())
    field = ExactField(mixture(), CondOT())
    with pytest.raises(UserError, match="EulerMaruyama adds noise"):
        log_likelihood(field, x, EulerMaruyama(), times)
    nowhere = Halting(lambda x: x)
    nowhere.path = None  # type: ignore[assignment]
    with pytest.raises(UserError, match="on no path"):
        log_likelihood(nowhere, x, Euler(), times)
    with pytest.raises(UserError, match="no derivative"):
        log_likelihood(Halting(lambda x: x.detach()), x, Euler(), times)
    weight = torch.ones((), requires_grad=True)
    with pytest.raises(UserError, match="does not depend on x"):
        log_likelihood(Halting(lambda x: weight * x.detach()), x, Euler(), times)
    with pytest.raises(UserError, match="a probe of shape"):
        log_likelihood(field, x, Euler(), times, divergence=HutchinsonDivergence(torch.ones(1, 2)))

    class OfNoise(Euler):
        def step(self, field, x, step, state):
            return x + field(x, step.t).noise, state

    with pytest.raises(UserError, match="asks for the noise"):
        log_likelihood(field, x, OfNoise(), times)
