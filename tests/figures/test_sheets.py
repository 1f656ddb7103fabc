"""Panels as figures, figures as files and films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.quiver import Quiver
from PIL import Image

from fmlab.figures import image_rows, pixels, save_figure, save_film
from fmlab.figures.canvas import FAINT, GIVEN, INK
from fmlab.figures.convergence import Solve, SolverCurve, draw_convergence
from fmlab.figures.panel import CELLS, Arrows, Panel, Trails, Window, draw_sheet

WINDOW = Window((1.0, 0.0), 2.0)
CENTRES = WINDOW.cell_centres(4)
STATES = torch.linspace(0, 1, 5).view(5, 1, 1) * torch.ones(5, 3, 2)
FULL = Panel(
    WINDOW,
    source=torch.ones(CELLS, CELLS),
    density=torch.eye(CELLS),
    mesh=STATES.transpose(0, 1),
    trails=Trails(torch.linspace(0, 1, 5), STATES),
    points=STATES[2],
    arrows=Arrows(CENTRES, CENTRES, torch.ones(16)),
    given=torch.tensor([1.0, 1.0]),
    note="a note",
    scale=True,
)


def test_a_window_has_equal_cells() -> None:
    assert WINDOW.extent == (-1, 3, -2, 2)
    assert CENTRES[0].tolist() == [-0.5, -1.5]
    assert CENTRES[1].tolist() == [0.5, -1.5]
    assert CENTRES[4].tolist() == [-0.5, -0.5]
    both = Window.over([WINDOW, Window((0.0, 0.0), 1.0)])
    assert both == WINDOW
    cloud = torch.rand(5000, 2, dtype=torch.float64) * torch.tensor([4.0, 1.0]) + torch.tensor([-1.0, 5.0])
    around = Window.around(cloud, margin=1.0)
    assert around.centre == pytest.approx((1.0, 5.5), abs=0.05)
    assert around.half == pytest.approx(2.0, abs=0.05)


def test_artists_are_given_what_the_panel_has() -> None:
    axes = draw_sheet([[FULL]]).axes[0]
    assert axes.get_xlim() == (-1, 3)
    assert axes.get_ylim() == (-2, 2)
    assert axes.get_aspect() == 1
    source, density = axes.images
    assert source.get_extent() == [-1, 3, -2, 2]
    assert source.origin == "lower"
    np.testing.assert_array_equal(density.get_array(), FULL.density.numpy())
    mesh, trails = (part for part in axes.collections if isinstance(part, LineCollection))
    np.testing.assert_allclose(np.array(mesh.get_segments()), FULL.mesh.numpy())
    segments = np.array(trails.get_segments())
    assert segments.shape == (12, 2, 2)
    np.testing.assert_allclose(segments[:3, 0], STATES[0].numpy())
    np.testing.assert_allclose(segments[-3:, 1], STATES[-1].numpy())
    np.testing.assert_allclose(trails.get_array(), np.repeat([0.125, 0.375, 0.625, 0.875], 3), rtol=1e-6)
    dots = [part.get_offsets() for part in axes.collections if isinstance(part, PathCollection)]
    for points in (STATES[0], STATES[-1], STATES[2], FULL.given[None]):
        assert any(np.shape(drawn) == points.shape and np.allclose(drawn, points) for drawn in dots)
    assert [text.get_text() for text in axes.texts] == ["a note", "4 wide"]


def test_arrows_point_along_the_field_and_fit_between_each_other() -> None:
    """The speed of nine tenths of the mass is one arrow's distance, and where there is no mass arrows are faint."""
    vectors = torch.stack([torch.arange(1.0, 17.0), torch.zeros(16)], 1).double()
    weights = torch.ones(16)
    weights[-1] = 1e-4
    panel = Panel(WINDOW, arrows=Arrows(CENTRES, vectors, weights))
    faint, dark = (part for part in draw_sheet([[panel]]).axes[0].collections if isinstance(part, Quiver))
    assert (faint.N, dark.N) == (1, 15)
    np.testing.assert_allclose(dark.get_offsets(), CENTRES[:15])
    np.testing.assert_allclose(dark.U, vectors[:15, 0] / 14)
    np.testing.assert_allclose(dark.V, 0)
    np.testing.assert_allclose(faint.U, 16 / 14)
    for part, colour in ((faint, FAINT), (dark, INK)):
        rgb = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        np.testing.assert_allclose(part.get_facecolor()[0, :3], rgb)


def test_rows_columns_and_names() -> None:
    figure = draw_sheet([[FULL] * 3] * 2, ["upper", "lower"], ["one", "two", "three"], heading="over", time_bar=True)
    assert len(figure.axes) == 7
    assert [axes.get_title() for axes in figure.axes[:6]] == ["one", "two", "three", "", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes[:6]] == ["upper", "", "", "lower", "", ""]
    assert figure.get_suptitle() == "over"


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_a_figure_is_a_file_of_its_suffix(suffix: str, start: bytes, tmp_path: Path) -> None:
    file = tmp_path / "new" / f"figure{suffix}"
    save_figure(draw_sheet([[FULL]]), file)
    assert file.read_bytes().startswith(start)


def test_small_pngs_keep_their_colours(tmp_path: Path) -> None:
    save_figure(draw_sheet([[FULL]]), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        small = np.asarray(picture.convert("RGB")).astype(int)
    exact = pixels(draw_sheet([[FULL]])).astype(int)
    assert np.abs(small - exact).max() < 60
    assert np.abs(small - exact).mean() < 2
    for colour in ("#ffffff", GIVEN):
        rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        assert (small == rgb).all(-1).any()


def test_a_film_has_its_frames_and_repeats(tmp_path: Path) -> None:
    frames = [replace(FULL, points=STATES[2] + index / 10) for index in range(7)]
    assert save_film((draw_sheet([[panel]]) for panel in frames), tmp_path / "a.gif", seconds=1.4, hold=0.5) == 7
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 7
        assert film.info["loop"] == 0
        durations = []
        for index in range(7):
            film.seek(index)
            durations.append(film.info["duration"])
    assert durations == [200] * 6 + [700]


def test_images_stand_in_rows() -> None:
    images = torch.randint(0, 256, (2, 3, 1, 4, 5), dtype=torch.uint8)
    figure = image_rows(images, ["a", "b", "c"])
    assert len(figure.axes) == 6
    shown = np.asarray(figure.axes[4].images[0].get_array())
    np.testing.assert_array_equal(shown, images[1, 1].permute(1, 2, 0).expand(-1, -1, 3))


def test_convergence_is_drawn_as_it_was_measured() -> None:
    curves = {
        "Euler": SolverCurve([Solve(8, 8, 1e-1), Solve(16, 16, 5e-2)], 1.0),
        "Heun": SolverCurve([Solve(4, 7, 1e-2), Solve(8, 15, 1e-12)], 2.0),
        "Dopri5": SolverCurve([Solve(1, 50, 1e-3)], adaptive=True),
    }
    figure = draw_convergence(curves, [8, 16], resolution=1e-9)
    axes = figure.axes[0]
    drawn = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(drawn["Euler, slope 1.0"].get_xydata(), [[8, 0.1], [16, 0.05]])
    np.testing.assert_allclose(drawn["Heun, slope 2.0"].get_xydata(), [[7, 1e-2], [15, 1e-9]])
    assert drawn["Dopri5, by tolerance"].get_linestyle() == "--"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    guides = [line.get_xydata() for line in axes.lines if str(line.get_label()).startswith("_")]
    slopes = [-np.diff(np.log(ends[:, 1]))[0] / np.diff(np.log(ends[:, 0]))[0] for ends in guides]
    np.testing.assert_allclose(slopes, [1, 2, 4])
