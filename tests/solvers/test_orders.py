"""Orders, costs and symmetry of the fixed-step methods (facts F11, F12, F13, F14)."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from helpers.closed_forms import DormandPrince, double, noise, three_modes
from torch import Tensor

from fmlab.distributions import Gaussian
from fmlab.fields import ExactField
from fmlab.paths import CondOT, Cosine, FlowAndScore, GaussianPath
from fmlab.solvers import (
    AB2,
    AB3,
    AB4,
    RK3,
    RK4,
    CosineGrid,
    Euler,
    EulerMaruyama,
    Heun,
    Midpoint,
    Ralston,
    Solver,
    UniformGrid,
)
from fmlab.solvers.adams_bashforth import adams_bashforth_weights
from fmlab.solvers.dopri5 import DORMAND_PRINCE, ERROR_WEIGHTS
from fmlab.solvers.runge_kutta import Tableau


class TimeOnly:
    """The field dx/dt = f(t), which remembers when it was asked."""

    def __init__(self, velocity) -> None:
        self.path, self.velocity, self.asked = CondOT(), velocity, []

    def __call__(self, x: Tensor, t: Tensor) -> FlowAndScore:
        self.asked.append(t.item())
        return FlowAndScore(self.path, x, t, self.velocity(t) * torch.ones_like(x))


@cache
def converged(path: type[GaussianPath]) -> Tensor:
    return DormandPrince().solve(three_modes(path()), noise(), UniformGrid()(500, path()))


def measured_order(solver: Solver, path: type[GaussianPath], grid=UniformGrid(), steps: int = 128) -> float:  # noqa: B008
    """The slope of log2(error) from `steps` to twice as many, from t = 0 to t = 1."""
    coarse, fine = (
        (solver.solve(three_modes(path()), noise(), grid(n, path())) - converged(path)).norm().item()
        for n in (steps, 2 * steps)
    )
    return math.log2(coarse / fine)


@pytest.mark.parametrize("path", [CondOT, Cosine])
@pytest.mark.parametrize(
    "solver", [Euler(), Midpoint(), Heun(), Ralston(), RK3(), RK4(), AB2(), AB3(), AB4()], ids=repr
)
def test_order_of_convergence(solver: Solver, path: type[GaussianPath]) -> None:
    """F11: the slope of log2(error) against the number of steps, on a mixture of three Gaussians."""
    assert measured_order(solver, path) == pytest.approx(solver.order, abs=0.15)


@pytest.mark.parametrize("path", [CondOT, Cosine])
def test_order_of_dormand_prince(path: type[GaussianPath]) -> None:
    """F11. Its leading error is so small that the slope comes down to 5 only where rounding begins: 5.25 here."""
    assert measured_order(DormandPrince(), path) == pytest.approx(5, abs=0.3)


@pytest.mark.parametrize("solver", [AB2(), AB3(), AB4()], ids=repr)
def test_order_of_adams_bashforth_on_uneven_steps(solver: Solver) -> None:
    assert measured_order(solver, Cosine, CosineGrid()) == pytest.approx(solver.order, abs=0.15)


Tree = tuple  # a rooted tree is the sorted tuple of its children


def trees(nodes: int) -> set[Tree]:
    """All rooted trees of that many nodes: a leaf added to each node of the smaller ones."""

    def grown(tree: Tree) -> list[Tree]:
        below = [(*tree[:i], child, *tree[i + 1 :]) for i in range(len(tree)) for child in grown(tree[i])]
        return [tuple(sorted(each)) for each in [(*tree, ()), *below]]

    return {()} if nodes == 1 else {tree for smaller in trees(nodes - 1) for tree in grown(smaller)}


def size(tree: Tree) -> int:
    return 1 + sum(map(size, tree))


def density(tree: Tree) -> int:
    return size(tree) * math.prod(map(density, tree))


def violation(tableau: Tableau, tree: Tree) -> float:
    """By how much Butcher's condition sum_i b_i Phi_i(tree) = 1 / gamma(tree) fails."""

    def stages(tree: Tree) -> list[float]:
        columns = [stages(child) for child in tree]
        return [math.prod(sum(a * c for a, c in zip(row, column)) for column in columns) for row in tableau.matrix]

    return abs(sum(b * phi for b, phi in zip(tableau.weights, stages(tree))) - 1 / density(tree))


EXTENDED = Tableau(  # with the velocity at the end of the step, as its error estimate has it
    (*DORMAND_PRINCE.nodes, 1),
    (*DORMAND_PRINCE.matrix, DORMAND_PRINCE.weights),
    tuple(b - e for b, e in zip((*DORMAND_PRINCE.weights, 0), ERROR_WEIGHTS)),
)


@pytest.mark.parametrize(
    ("tableau", "order"),
    [
        (Midpoint.tableau, 2),
        (Ralston.tableau, 2),
        (RK3.tableau, 3),
        (RK4.tableau, 4),
        (DORMAND_PRINCE, 5),
        (EXTENDED, 4),
    ],
    ids=["Midpoint", "Ralston", "RK3", "RK4", "DormandPrince", "DormandPrince's fourth order"],
)
def test_order_conditions(tableau: Tableau, order: int) -> None:
    """Butcher's conditions, one a rooted tree: all hold up to the order, and not all at the next."""
    assert [len(trees(n)) for n in range(1, 7)] == [1, 1, 2, 4, 9, 20]
    assert [sum(row) for row in tableau.matrix] == pytest.approx(list(tableau.nodes))
    assert max(violation(tableau, tree) for n in range(1, order + 1) for tree in trees(n)) < 1e-14
    assert max(violation(tableau, tree) for tree in trees(order + 1)) > 1e-4


def test_ralston_has_radau_nodes() -> None:
    """Ralston's second-order weights integrate t^2 exactly, the midpoint rule does not."""
    ends = [solver.solve(TimeOnly(torch.square), double([[0.0]]), double([0.0, 1.0])) for solver in (Ralston(), RK3())]
    assert [end.item() for end in ends] == pytest.approx([1 / 3, 1 / 3], abs=1e-15)
    assert Midpoint().solve(TimeOnly(torch.square), double([[0.0]]), double([0.0, 1.0])).item() == 0.25


@pytest.mark.parametrize(
    ("solver", "expected"),
    [
        (Euler(), 10),
        (Midpoint(), 20),
        (Ralston(), 20),
        (Heun(), 19),
        (RK3(), 30),
        (RK4(), 40),
        (DormandPrince(), 60),
        (AB2(), 2 + 9),
        (AB3(), 2 * 3 + 8),
        (AB4(), 3 * 4 + 7),
        (EulerMaruyama(), 10),
    ],
    ids=repr,
)
def test_evaluations_are_counted(solver: Solver, expected: int) -> None:
    """F12, for ten steps."""
    field = three_modes(CondOT())
    solver.solve(field, noise(), UniformGrid()(10, field.path))
    assert field.nfe == expected


def test_fewer_steps_than_the_order_are_runge_kutta() -> None:
    field, times = three_modes(CondOT()), UniformGrid()(3, CondOT())
    assert torch.equal(AB4().solve(field, noise(), times), RK4().solve(field, noise(), times))


@pytest.mark.parametrize(
    "solver", [Euler(), Midpoint(), Ralston(), Heun(), RK3(), AB2(), AB3(), AB4(), RK4(), DormandPrince()], ids=repr
)
def test_no_time_beyond_the_end(solver: Solver) -> None:
    """RK4 and Dormand-Prince evaluate the end of time, to the last bit; the others do not reach it."""
    field = TimeOnly(torch.ones_like)
    solver.solve(field, torch.zeros(1, 1), torch.linspace(0, 1, 51, dtype=torch.float64) ** 1.3)
    at_end = isinstance(solver, (RK4, DormandPrince))
    assert (max(field.asked) == 1) == at_end
    assert max(field.asked) <= 1


def test_a_stage_at_the_end_of_a_step_is_there_to_the_last_bit() -> None:
    """t + (t_next - t) is not t_next in floating point, and may lie beyond the end of a path."""
    field, times = (
        TimeOnly(torch.ones_like),
        torch.rand(400, generator=torch.Generator().manual_seed(0)).double() ** 1.3,
    )
    assert (times[:-1] + times.diff() != times[1:]).any()
    RK4().solve(field, torch.zeros(1, 1, dtype=torch.float64), times)
    assert field.asked[3::4] == times[1:].tolist()


def test_weights_on_even_steps_are_the_classical_ones() -> None:
    assert adams_bashforth_weights([0.0, 1.0], 2.0) == pytest.approx([-1 / 2, 3 / 2])
    assert adams_bashforth_weights([0.0, 1.0, 2.0], 3.0) == pytest.approx([5 / 12, -16 / 12, 23 / 12])
    fourth = [-9 / 24, 37 / 24, -59 / 24, 55 / 24]
    assert adams_bashforth_weights([0.0, 1.0, 2.0, 3.0], 4.0) == pytest.approx(fourth)


@pytest.mark.parametrize("solver", [AB2(), AB3(), AB4()], ids=repr)
def test_adams_bashforth_integrates_polynomials_on_any_grid(solver: Solver) -> None:
    """Through k points of the past a velocity of degree k - 1 in t is known; one of degree k is not."""
    k, start = int(solver.order), double([[0.0]])
    times = torch.rand(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64).cumsum(0)
    for degree in (k - 1, k):
        end = solver.solve(TimeOnly(lambda t, degree=degree: t**degree), start, times).item()
        exact = (times[-1] ** (degree + 1) - times[0] ** (degree + 1)).item() / (degree + 1)
        assert (end == pytest.approx(exact, rel=1e-12)) == (degree < k)


def test_adams_bashforth_remembers_one_solve_only() -> None:
    """One object solves again, and twice at once, with the same result."""
    solver, field, times = AB3(), three_modes(CondOT()), UniformGrid()(8, CondOT())
    first = solver.solve(field, noise(), times)
    solver.solve(three_modes(Cosine()), noise() + 1, times)
    assert torch.equal(solver.solve(field, noise(), times), first)
    assert repr(solver) == "AB3()"


def test_steps_that_float32_cannot_tell_apart() -> None:
    """Two times become one in the state's precision: the step is empty, and the result finite."""
    field, times = three_modes(CondOT()), double([0.0, 0.5, 0.5 + 1e-10, 0.8, 1.0])
    for solver in (AB2(), AB4(), RK4()):
        end = solver.solve(field, noise().float(), times)
        torch.testing.assert_close(end.double(), solver.solve(field, noise(), times[[0, 1, 3, 4]]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("solver", [Euler(), Midpoint(), Ralston(), Heun(), RK3(), AB2(), AB3(), AB4()], ids=repr)
def test_a_single_point_is_reached(solver: Solver) -> None:
    """F13: on the straight path towards one point the velocity is constant along a solution; Euler needs one step.

    RK4 and Dopri5 are not asked: at t = 1 the field of a point does not exist.
    """
    point = double([[1.5, -0.5]])
    field = ExactField(Gaussian(point[0], torch.zeros(2, 2, dtype=torch.float64)), CondOT())
    steps = 1 if isinstance(solver, Euler) else 5
    end = solver.solve(field, noise(), UniformGrid()(steps, field.path))
    torch.testing.assert_close(end, point.expand_as(end), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("solver", "tolerance"),
    [
        (Euler(), 1e-1),
        (Midpoint(), 1e-3),
        (Ralston(), 1e-3),
        (Heun(), 1e-3),
        (AB2(), 1e-3),
        (RK3(), 1e-5),
        (AB3(), 1e-4),
        (RK4(), 1e-7),
        (AB4(), 1e-5),
    ],
    ids=repr,
)
def test_there_and_back(solver: Solver, tolerance: float) -> None:
    """F14: the backward solve returns to the noise, within the method's error at 100 steps."""
    field, times = three_modes(CondOT()), UniformGrid()(100, CondOT())
    back = solver.solve(field, converged(CondOT), times.flip(0))
    assert tolerance / 100 < (back - noise()).square().mean().sqrt() < tolerance
