"""What the theory's pictures are handed is what the closed forms say."""

from __future__ import annotations

import math

import pytest
import torch

from fmlab.distributions import Checkerboard, Circles, EightGaussians, Gaussian, Moons
from fmlab.errors import UserError
from fmlab.fields import ExactField
from fmlab.figures import Scene, field_panels, flow_panels, path_panels, trajectory_panels
from fmlab.figures.scene_panels import (
    LINES,
    differ,
    learned_error,
    solve_times,
    square_mesh,
    steady_until,
    windows_over,
)
from fmlab.objectives import MinibatchOT
from fmlab.paths import VE, VP, CondOT, Cosine, Interpolant, SchrodingerBridge
from fmlab.solvers import ConstantDiffusion, EulerMaruyama, Heun, UniformGrid

MEAN = torch.tensor([1.0, -0.5], dtype=torch.float64)
STD = torch.tensor([0.5, 2.0], dtype=torch.float64)
GAUSSIAN = Gaussian(MEAN, STD.square().diag())
TIMES = torch.tensor([0.0, 0.3, 0.8, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("path", [CondOT(), Cosine(), VP()], ids=repr)
def test_paths_have_the_conditional_and_the_marginal_law(path: CondOT) -> None:
    """x_t given z is N(alpha z, beta^2 I); of Gaussian data it is N(alpha m, alpha^2 S + beta^2 I) (F8)."""
    scene = Scene(path, GAUSSIAN, z=torch.tensor([2.0, 1.0]))
    panels = path_panels(scene, ["conditional", "marginal"], TIMES, 20_000)
    for index, t in enumerate(TIMES):
        alpha, beta = path.alpha(t), path.beta(t)
        for row, mean, variance in (
            ("conditional", alpha * scene.given, beta.square().expand(2)),
            ("marginal", alpha * MEAN, (alpha * STD).square() + beta.square()),
        ):
            panel = panels[row][index]
            assert panel.points is not None
            torch.testing.assert_close(panel.points.mean(0), mean, rtol=0, atol=0.06)
            torch.testing.assert_close(panel.points.std(0), variance.sqrt(), rtol=0.03, atol=1e-6)
            if panel.density is None:
                assert row == "conditional"
                assert beta < 1e-3
                continue
            density = Gaussian(mean, variance.diag()).log_density(panel.window.cell_centres(len(panel.density))).exp()
            torch.testing.assert_close(panel.density.flatten(), density)


def test_fields_are_the_closed_forms() -> None:
    """Conditional alpha' z + beta' (x - alpha z) / beta, marginal as in F8; a learned field as it answers."""
    path, z = CondOT(), torch.tensor([2.0, 1.0], dtype=torch.float64)
    twice = ExactField(Gaussian(2 * MEAN, STD.square().diag()), path)
    scene = Scene(path, GAUSSIAN, z=z, learned=lambda labels, scale: twice)
    panels = field_panels(scene, ["conditional", "marginal", "learned"], TIMES[:3])
    for index, t in enumerate(TIMES[:3]):
        arrows = {row: panels[row][index].arrows for row in panels}
        x = arrows["marginal"].points
        variance = (t * STD).square() + (1 - t) ** 2
        exact = MEAN + (t * STD.square() - (1 - t)) / variance * (x - t * MEAN)
        torch.testing.assert_close(arrows["conditional"].vectors, (z - x) / (1 - t))
        torch.testing.assert_close(arrows["marginal"].vectors, exact)
        learned = twice(x.float(), t.float()).velocity.double()
        torch.testing.assert_close(arrows["learned"].vectors, learned, rtol=1e-5, atol=1e-5)
        density = Gaussian(t * MEAN, variance.diag()).log_density(x).exp()
        torch.testing.assert_close(arrows["marginal"].weights, density)
    # Off by m - t m (t S - beta) / V at t = 0: by m + 0; the exact velocity there is m - x, of mean square |m|^2 + 2.
    assert learned_error(scene, TIMES[0]) == pytest.approx(math.sqrt(1.25 / 3.25), rel=0.05)
    assert panels["learned"][0].note.startswith("error ")
    assert panels["marginal"][0].note == ""
    (panel,) = field_panels(scene, ["marginal"], TIMES[1:2], streams=True)["marginal"]
    assert panel.arrows is None
    assert panel.streams is not None
    places = panel.window.cell_centres(len(panel.streams))
    torch.testing.assert_close(panel.streams.flatten(0, 1), scene.marginal(900)(places, TIMES[1]).velocity)


def test_the_mesh_of_a_gaussian_flow_is_its_affine_map() -> None:
    """From N(0, I) to N(m, S), S diagonal, the flow is x_t = t m + sqrt(V_t) x_0 an axis (F8)."""
    scene = Scene(CondOT(), GAUSSIAN)
    panels = flow_panels(scene, ["marginal", "conditional"], TIMES, 50, Heun(), UniformGrid(), 200)
    first = panels["marginal"][0].mesh
    assert first is not None
    assert first.shape[0] == 2 * LINES
    for row in ("marginal", "conditional"):
        target, spread = (MEAN, STD) if row == "marginal" else (scene.given, torch.zeros(2))
        for t, panel in zip(TIMES, panels[row]):
            scale = ((t * spread).square() + (1 - t) ** 2).sqrt()
            assert panel.mesh is not None
            assert panel.points is not None
            torch.testing.assert_close(panel.mesh, t * target + scale * first, rtol=0, atol=2e-3)
            start = panels[row][0].points
            torch.testing.assert_close(panel.points, t * target + scale * start, rtol=0, atol=2e-3)


def test_the_mesh_begins_with_straight_lines_both_ways() -> None:
    mesh = square_mesh(windows_over(Scene(CondOT(), GAUSSIAN), TIMES)[0])
    upright, level = mesh[:LINES], mesh[LINES:]
    assert (upright[..., 0].std(1) < 1e-12).all()
    assert (level[..., 1].std(1) < 1e-12).all()
    assert (upright[:, 0, 1] == upright[0, 0, 1]).all()


def test_trajectories_share_starts_and_reach_the_data() -> None:
    """The ODE's ends are the affine map of the starts; the SDEs' have the law of the data, whatever the noise (F15)."""
    scene = Scene(CondOT(), GAUSSIAN, z=torch.tensor([1.0, 1.0]))
    columns = [(scene, Heun()), (scene, EulerMaruyama(0.5)), (scene, EulerMaruyama(1.5))]
    until = torch.tensor([0.5, 1.0], dtype=torch.float64)
    half, whole = trajectory_panels(columns, ["conditional", "marginal"], until, 2000, UniformGrid(), 100)
    starts = [panel.trails.states[0] for row in whole for panel in row]
    assert all(torch.equal(start.float(), starts[0].float()) for start in starts)
    assert half[0][0].trails.times[-1] == 0.5
    assert whole[0][0].trails.times[-1] == 1
    torch.testing.assert_close(whole[1][0].trails.states[-1], MEAN + STD * starts[0], rtol=0, atol=0.02)
    for panel in whole[1][1:]:
        ends = panel.trails.states[-1]
        torch.testing.assert_close(ends.mean(0), MEAN, rtol=0, atol=0.15)
        torch.testing.assert_close(ends.std(0), STD, rtol=0.08, atol=0)
        assert (ends - whole[1][0].trails.states[-1]).std() > 0.1
    for panel in whole[0]:
        torch.testing.assert_close(panel.trails.states[-1], scene.given.expand(2000, 2), rtol=0, atol=1e-6)


def test_an_sde_stops_where_its_steps_add_more_noise_than_there_is() -> None:
    """beta^2 = sigma^2 h at 1 - t = 0.1 for sigma = 1 and h = 0.01."""
    times = UniformGrid()(100, CondOT())
    assert times[steady_until(CondOT(), ConstantDiffusion(1.001), times)] == pytest.approx(0.9, abs=0.011)
    assert steady_until(CondOT(), ConstantDiffusion(0.0), times) == 100
    bridge = Interpolant()
    assert steady_until(bridge, ConstantDiffusion(1.0), times, bandwidth=0.2) == 100
    assert steady_until(bridge, ConstantDiffusion(1.0), times, bandwidth=0.05) == 51


def test_wanted_times_are_visited() -> None:
    requested = torch.tensor([0.0, 0.123, 0.25, 1.0])
    times, places = solve_times(UniformGrid(), 4, CondOT(), requested)
    torch.testing.assert_close(times, torch.tensor([0, 0.123, 0.25, 0.5, 0.75, 1]).double(), rtol=0, atol=1e-7)
    torch.testing.assert_close(times[places], requested.double(), rtol=0, atol=1e-7)


def test_a_class_is_guided() -> None:
    """The marginal field of class y at scale w is (1 - w) u(x) + w u(x | y)."""
    path, law = CondOT(), EightGaussians()
    x, t = torch.randn(5, 2, dtype=torch.float64), torch.tensor(0.6)
    plain, of_class = ExactField(law, path)(x, t).velocity, ExactField(law.restricted(3), path)(x, t).velocity
    velocity = Scene(path, law, label=3, guidance_scale=2.5).marginal(5)(x, t).velocity
    torch.testing.assert_close(velocity, -1.5 * plain + 2.5 * of_class)
    drawn = Scene(path, law, label=3).sample(torch.tensor(1.0), 100)
    assert (torch.cdist(drawn, law.means.double()).argmin(1) == 3).all()


@pytest.mark.parametrize(
    "scene",
    [
        Scene(Interpolant(), Checkerboard(), Circles()),
        Scene(SchrodingerBridge(0.5), Moons()),
        Scene(CondOT(), EightGaussians(), coupling=MinibatchOT()),
    ],
    ids=["data to data", "a bridge", "coupled"],
)
def test_without_a_gaussian_the_pairs_are_followed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Following the field of pairs from the source gives the law of the data."""
    monkeypatch.setattr("fmlab.figures.scene.PAIRS", 2000)
    rows = [row for row in scene.fields() if row == "marginal"]
    (panels,) = trajectory_panels([(scene, Heun())], rows, torch.ones(1), 300, UniformGrid(), 20)
    ends, data = panels[0][0].trails.states[-1], scene.sample_data(5000)
    torch.testing.assert_close(ends.mean(0), data.mean(0), rtol=0, atol=0.3)
    torch.testing.assert_close(torch.cov(ends.T), torch.cov(data.T), rtol=0, atol=0.5)
    assert ("conditional" in scene.fields()) == scene.is_independent


def test_a_shape_is_known_by_its_samples() -> None:
    """The field of the smoothed checkerboard's law is that of the samples': at t = 0 it is E[z] - x."""
    scene, x = Scene(CondOT(), Checkerboard()), torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(scene.marginal(5)(x, torch.tensor(0.0)).velocity, -x, rtol=0, atol=0.02)
    law = scene.law(torch.tensor(1.0))
    inside, outside = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.5, -0.5]])
    densities = law.log_density(torch.cat([inside, outside]).double()).exp()
    assert densities[0].item() == pytest.approx(1 / 8, rel=0.15)
    assert densities[1].item() < 1e-3


def test_windows_are_one_unless_the_law_shrinks_too_far() -> None:
    assert not differ(windows_over(Scene(CondOT(), Moons()), TIMES))
    spread = Scene(VE(), Moons())
    windows = windows_over(spread, TIMES)
    assert differ(windows)
    assert windows[0].half > 10 * windows[-1].half
    assert path_panels(spread, ["marginal"], TIMES, 5)["marginal"][0].scale


def test_draws_repeat_and_seeds_decide() -> None:
    first, again, other = (Scene(CondOT(), Moons(), seed=seed).sample(TIMES[1], 10) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_mistakes() -> None:
    with pytest.raises(UserError, match="two dimensions"):
        Scene(CondOT(), Gaussian(torch.zeros(3), torch.eye(3)))
    with pytest.raises(UserError, match="needs a class"):
        Scene(CondOT(), Moons(), guidance_scale=2.0)
    with pytest.raises(UserError, match="no class 9"):
        Scene(CondOT(), EightGaussians(), label=9)
    with pytest.raises(UserError, match="from noise to data only"):
        Scene(Interpolant(), EightGaussians(), Circles(), label=1)
