"""Time grids: their ends, their order and their spacing on every path."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor

import fmlab.paths
import fmlab.solvers
from fmlab.errors import UserError
from fmlab.paths import VP, CondOT, Cosine, GaussianPath, Interpolant, Polynomial
from fmlab.solvers import CosineGrid, Grid, ListGrid, LogitGrid, LogSNRGrid, RhoGrid, ShiftedGrid, UniformGrid


class Early(CondOT):
    """A path on part of the time; its ratios run from 49 to 0.01."""

    t_start, t_end = 0.02, 1 / 1.01


class VarianceExploding(GaussianPath):
    """alpha = 1, beta from 50 to 0.01: neither end is pure, and the ratio is not reached by all grids."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def beta(self, t: Tensor) -> Tensor:
        return 50 * (0.01 / 50) ** t

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def beta_dot(self, t: Tensor) -> Tensor:
        return math.log(0.01 / 50) * self.beta(t)

    def log_snr_inverse(self, log_snr: Tensor) -> Tensor:
        return (-log_snr / 2 - math.log(50)) / math.log(0.01 / 50)


def exported(room, base: type) -> list:
    """Every class of the room that needs no argument, made."""
    classes = [cls for cls in vars(room).values() if inspect.isclass(cls) and issubclass(cls, base)]
    ready = [cls for cls in classes if not inspect.isabstract(cls)]
    needed = inspect.Parameter.empty
    return [cls() for cls in ready if all(p.default is not needed for p in inspect.signature(cls).parameters.values())]


PATHS = [*exported(fmlab.paths, GaussianPath), Early(), VarianceExploding(), VP(0.1, 8.0), VP(0.1, 40.0), Polynomial(4)]
GRIDS = [
    *exported(fmlab.solvers, Grid),
    RhoGrid(1.0),
    RhoGrid(sigma_min=0.01, sigma_max=50.0),
    RhoGrid(sigma_min=1e-4, sigma_max=1e4),
    LogSNRGrid(sigma_min=0.01, sigma_max=50.0),
    LogSNRGrid(sigma_min=1e-4, sigma_max=1e4),
    LogitGrid(20.0),
    ShiftedGrid(0.2),
]


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_grids_run_from_end_to_end(path: GaussianPath, grid: Grid) -> None:
    """Exactly the path's ends, exactly as many steps as asked, each of them forwards, in float64."""
    for steps in (1, 2, 3, 18, 250):
        times = grid(steps, path)
        assert times.dtype == torch.float64
        assert times.shape == (steps + 1,)
        assert times[0] == path.t_start
        assert times[-1] == path.t_end
        assert (times.diff() > 0).all()
    with pytest.raises(UserError, match="at least 1 step"):
        grid(0, path)


def test_every_grid_is_tried() -> None:
    named = {type(grid).__name__ for grid in GRIDS} | {"ListGrid"}
    assert named >= {"CosineGrid", "LogSNRGrid", "LogitGrid", "RhoGrid", "ShiftedGrid", "UniformGrid"}
    assert {"CondOT", "Cosine", "Polynomial", "VP"} <= {type(path).__name__ for path in PATHS}


def ratios(grid: Grid, steps: int, path: GaussianPath) -> list[float]:
    times = grid(steps, path)
    return (path.beta(times) / path.alpha(times)).tolist()


def test_rho_grid_is_the_published_one() -> None:
    """EDM's 18 points on the straight path, t = 1 / (1 + sigma), then t = 1; only the first is the path's start."""
    times = RhoGrid()(18, CondOT())
    assert times[1:3].tolist() == pytest.approx([0.01707, 0.02393], abs=6e-6)
    assert times[-3:].tolist() == pytest.approx([0.99253, 0.998, 1.0], abs=6e-6)
    assert times[-2].item() == pytest.approx(1 / 1.002, abs=1e-9)


@pytest.mark.parametrize("path", [CondOT(), Cosine(), VP(), Polynomial(2)], ids=repr)
def test_log_snr_grid_has_equal_steps_of_log_snr(path: GaussianPath) -> None:
    """From the second time to the last but one; the first of the equal steps begins at sigma_max, not at the path."""
    times = LogSNRGrid(0.01, 20.0)(12, path)
    log_snr = path.log_snr(times[1:-1])
    step = 2 * math.log(20 / 0.01) / 11
    assert log_snr.diff().tolist() == pytest.approx([step] * 10)
    assert log_snr[0].item() == pytest.approx(-2 * math.log(20) + step)
    assert log_snr[-1].item() == pytest.approx(-2 * math.log(0.01))


def test_ratios_outside_the_path_give_way_to_its_own() -> None:
    """A path that begins below sigma_max, or ends above sigma_min, is cut into as many steps between its own ratios."""
    path = VarianceExploding()  # from 50 to 0.01
    whole = ratios(LogSNRGrid(0.002, 80.0), 4, path)
    assert whole == pytest.approx([50 * (0.01 / 50) ** (i / 4) for i in range(5)])
    assert ratios(LogSNRGrid(0.01, 50.0), 4, path) == pytest.approx(whole)
    assert ratios(LogSNRGrid(0.08, 80.0), 4, path) == pytest.approx(
        [50, *(50 * 0.0016 ** (i / 3) for i in (1, 2, 3)), 0.01]
    )
    assert ratios(RhoGrid(1.0, 0.002, 80.0), 5, path) == pytest.approx(torch.linspace(50, 0.01, 6).tolist())
    narrow = VP(0.1, 8.0)  # begins at 7.3
    first, second = ratios(RhoGrid(), 6, narrow)[:2]
    assert first < 8
    assert second ** (1 / 7) == pytest.approx(0.8 * first ** (1 / 7) + 0.2 * 0.002 ** (1 / 7))
    with pytest.raises(UserError, match=r"ratios from 50 to 0\.01 only"):
        RhoGrid(sigma_min=60.0)(4, path)
    with pytest.raises(UserError, match="Gaussian path"):
        LogSNRGrid()(4, Interpolant())


def test_two_times_that_are_one_number_are_refused() -> None:
    with pytest.raises(UserError, match="same time"):
        RhoGrid(sigma_min=1e-18)(4, CondOT())


@pytest.mark.parametrize("path", [CondOT(), Early()], ids=repr)
def test_spacings(path: GaussianPath) -> None:
    """Each grid equals steps of its own function of the share of time that has passed."""
    equal = {
        UniformGrid(): lambda share: share,
        CosineGrid(): lambda share: torch.acos(1 - 2 * share),
        LogitGrid(5.0): torch.logit,
        # Esser et al. 2024, equation 23, undone: the paper's time is the share left, and its shift the odds' factor.
        ShiftedGrid(3.0): lambda share: torch.sigmoid(torch.logit(share) + math.log(3.0)),
        ShiftedGrid(1.0): lambda share: share,
    }
    for grid, function in equal.items():
        times = grid(10, path)[1:-1]
        steps = function((times - path.t_start) / (path.t_end - path.t_start)).diff()
        assert steps.tolist() == pytest.approx([steps[0].item()] * 8), grid
    assert torch.logit(LogitGrid(5.0)(10, CondOT())[1]).item() == pytest.approx(-4)


def test_shift_moves_the_steps_to_the_noise() -> None:
    """SD3's shift of 3 puts its half-way point, 3 / 4 noise, at t = 1 / 4."""
    assert ShiftedGrid(3.0)(2, CondOT())[1].item() == pytest.approx(0.25)
    assert ShiftedGrid(1 / 3)(2, CondOT())[1].item() == pytest.approx(0.75)
    torch.testing.assert_close(ShiftedGrid(1.0)(7, CondOT()), UniformGrid()(7, CondOT()))


def test_a_list_of_times() -> None:
    """The path's ends may stand in the list or not; the number of steps must be that of the list."""
    inside = [0.1, 0.5, 0.8]
    for times in (inside, [0.0, *inside], [*inside, 1.0], [0, *inside, 1]):
        assert ListGrid(times)(4, CondOT()).tolist() == [0.0, *inside, 1.0]
    assert ListGrid([])(1, CondOT()).tolist() == [0.0, 1.0]
    with pytest.raises(UserError, match="make 4 steps, not 20") as error_info:
        ListGrid(inside)(20, CondOT())
    assert error_info.value.key == "steps"
    assert error_info.value.hint == "use 4 steps"
    with pytest.raises(UserError, match=r"runs from 0.02 to"):
        ListGrid([0.01, 0.5])(3, Early())
    with pytest.raises(UserError, match="increase"):
        ListGrid([0.5, 0.5])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RhoGrid(rho=0),
        lambda: RhoGrid(sigma_min=0),
        lambda: LogSNRGrid(sigma_min=2, sigma_max=1),
        lambda: LogitGrid(0),
        lambda: LogitGrid(31),
        lambda: ShiftedGrid(0),
    ],
)
def test_bad_constants_are_refused(wrong) -> None:
    with pytest.raises(UserError):
        wrong()
