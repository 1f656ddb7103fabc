"""The plane's shapes: where their points may lie, their moments, their classes, and that seeds repeat."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from fmlab.distributions import SHAPES_2D, Checkerboard, Circles, EightGaussians, Moons, SCurve, Spiral, shape_2d
from fmlab.errors import UserError

N = 40_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", SHAPES_2D)
def test_every_shape_draws_finite_points_on_the_plane_and_repeats(name: str) -> None:
    law = shape_2d(name)
    x = law.sample(1000, seeded())
    assert x.shape == (1000, *law.shape) == (1000, 2)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    assert x.abs().max() < 4.5
    assert x.equal(law.sample(1000, seeded()))
    assert not x.equal(law.sample(1000, seeded(1)))
    assert 0.5 < x.std(0).min() < x.std(0).max() < 2.0


@pytest.mark.parametrize("name", SHAPES_2D)
def test_classes_are_balanced_where_they_exist_and_do_not_change_the_points(name: str) -> None:
    law = shape_2d(name)
    if law.num_classes is None:
        with pytest.raises(UserError, match="no classes"):
            law.sample_labelled(3, seeded())
        return
    x, label = law.sample_labelled(N, seeded())
    assert label.dtype == torch.int64
    assert x.equal(law.sample(N, seeded()))
    share = label.bincount(minlength=law.num_classes) / N
    expected = getattr(law, "weights", torch.full((law.num_classes,), 1 / law.num_classes))
    torch.testing.assert_close(share, expected, rtol=0, atol=0.015)


def test_moons_are_two_half_circles_of_radius_three_halves() -> None:
    x, label = Moons(noise=0.0).sample_labelled(N, seeded())
    centre = torch.tensor([-0.75, -0.375]) * (1 - 2.0 * label).unsqueeze(-1)
    offset = (x - centre) * (1 - 2.0 * label).unsqueeze(-1)
    torch.testing.assert_close(offset.norm(dim=-1), torch.full((N,), 1.5))
    assert (offset[:, 1] > -1e-5).all()
    torch.testing.assert_close(x.mean(0), torch.zeros(2), rtol=0, atol=0.03)
    torch.testing.assert_close(offset[:, 1].mean(), torch.tensor(3 / math.pi), rtol=0, atol=0.02)


def test_circles_have_radius_two_and_one() -> None:
    x, label = Circles(noise=0.0).sample_labelled(N, seeded())
    torch.testing.assert_close(x.norm(dim=-1), 2.0 - label)
    torch.testing.assert_close(x.mean(0), torch.zeros(2), rtol=0, atol=0.03)


def test_checkerboard_fills_the_squares_of_one_colour_alone() -> None:
    x = Checkerboard().sample(N, seeded())
    assert (x.abs() <= 2).all()
    square = x.floor().long()
    assert ((square.sum(-1) % 2) == 0).all()
    share = torch.unique(square, dim=0, return_counts=True)[1] / N
    torch.testing.assert_close(share, torch.full((8,), 1 / 8), rtol=0, atol=0.01)
    torch.testing.assert_close((x - square).var(0), torch.full((2,), 1 / 12), rtol=0.03, atol=0)


def test_s_curve_lies_on_two_circles_touching_at_zero() -> None:
    x = SCurve(noise=0.0).sample(N, seeded())
    centre = torch.stack([torch.zeros(N), x[:, 1].sign()], dim=-1)
    torch.testing.assert_close((x - centre).norm(dim=-1), torch.ones(N), rtol=0, atol=1e-5)
    torch.testing.assert_close(x.mean(0), torch.zeros(2), rtol=0, atol=0.03)
    assert x[:, 1].max() > 1.99
    assert x[:, 1].min() < -1.99


def test_spiral_is_archimedean_with_even_density() -> None:
    x = Spiral(noise=0.0).sample(N, seeded())
    radius = x.norm(dim=-1)
    angle = 1.5 * math.pi * radius
    torch.testing.assert_close(x, radius.unsqueeze(-1) * torch.stack([angle.cos(), angle.sin()], -1), rtol=0, atol=1e-4)
    # Evenly dense along an arm whose length grows as radius squared: the median is at radius 2 / sqrt(2).
    assert abs(radius.median().item() - math.sqrt(2)) < 0.02


def test_noise_is_what_it_says() -> None:
    for law, clean in ((Moons(0.3), Moons(0.0)), (Spiral(0.3), Spiral(0.0))):
        spread = law.sample(N, seeded()) - clean.sample(N, seeded())
        torch.testing.assert_close(spread.std(0), torch.full((2,), 0.3), rtol=0.02, atol=0)


def test_eight_gaussians_have_a_density() -> None:
    law = EightGaussians()
    x, label = law.sample_labelled(N, seeded())
    torch.testing.assert_close(law.means.norm(dim=-1), torch.full((8,), 2.0))
    torch.testing.assert_close((x - law.means[label]).std(0), torch.full((2,), 0.15), rtol=0.03, atol=0)
    assert law.log_density(law.means).shape == (8,)


def test_shapes_without_a_density_say_so() -> None:
    with pytest.raises(UserError, match="Moons has samples only"):
        Moons().log_density(torch.zeros(1, 2))
    with pytest.raises(UserError, match="Moons has samples only"):
        Moons().score(torch.zeros(1, 2))


def test_an_unknown_shape_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no 2-D shape 'moon'") as caught:
        shape_2d("moon")
    assert "moons" in str(caught.value.hint)


def test_the_room_needs_no_lightning() -> None:
    code = "import sys, fmlab.distributions; assert 'lightning' not in sys.modules and 'wandb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
