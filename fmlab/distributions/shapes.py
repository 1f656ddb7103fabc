"""The two-dimensional laws on which generative models are first tried, all within about three units of zero.

All of them are drawn with torch from the generator that is given: the same seed gives the same points everywhere.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from fmlab.distributions.base import Distribution, LabelledDistribution, drawing_device
from fmlab.distributions.gaussian import GaussianMixture
from fmlab.errors import UserError, nearest


class Shape2D(LabelledDistribution):
    """A law on the plane of which only samples are known."""

    shape = (2,)

    def _draw(
        self, n: int, generator: torch.Generator | None, device: torch.device | str | None
    ) -> tuple[Tensor, Tensor | None]:
        where = device or drawing_device(generator)
        points, labels = self.draw(n, generator)
        return points.to(where), None if labels is None else labels.to(where)

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
        """n points, and their classes if they have any, on the generator's device."""


class Moons(Shape2D):
    """Two interleaved half circles of radius 1.5, as in scikit-learn's `make_moons`; the half is the class.

    Args:
        noise: Standard deviation of the Gaussian noise on every point.
    """

    num_classes = 2

    def __init__(self, noise: float = 0.1) -> None:
        self.noise = noise

    def draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        label = _integers(2, n, generator)
        angle = math.pi * _uniform(n, generator)
        side = 1.0 - 2.0 * label  # the second half circle is the first one turned by 180 degrees about the centre
        x = torch.stack([side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)], dim=-1)
        return 1.5 * x + self.noise * _normal(n, generator), label


class Circles(Shape2D):
    """Two concentric circles of radius 2 and 1; the circle is the class.

    Args:
        noise: Standard deviation of the Gaussian noise on every point.
    """

    num_classes = 2

    def __init__(self, noise: float = 0.1) -> None:
        self.noise = noise

    def draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        label = _integers(2, n, generator)
        x = (2.0 - label).unsqueeze(-1) * _on_circle(2 * math.pi * _uniform(n, generator))
        return x + self.noise * _normal(n, generator), label


class Checkerboard(Shape2D):
    """Uniform on the eight squares of one colour of a 4 x 4 board that fills [-2, 2]^2."""

    def draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, None]:
        row, pair = _integers(4, n, generator), _integers(2, n, generator)
        corner = torch.stack([2 * pair + row % 2, row], dim=-1) - 2.0
        inside = torch.rand(n, 2, generator=generator, device=drawing_device(generator))
        return corner + inside, None


class SCurve(Shape2D):
    """The letter S, two three-quarter circles of radius 1, as in the first and last coordinates of `make_s_curve`.

    Args:
        noise: Standard deviation of the Gaussian noise on every point.
    """

    def __init__(self, noise: float = 0.1) -> None:
        self.noise = noise

    def draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, None]:
        angle = 3 * math.pi * (_uniform(n, generator) - 0.5)
        x = torch.stack([angle.sin(), angle.sign() * (angle.cos() - 1.0)], dim=-1)
        return x + self.noise * _normal(n, generator), None


class Spiral(Shape2D):
    """One arm r = 2 a / (3 pi), wound one and a half times out to radius 2, about equally dense along its length.

    Args:
        noise: Standard deviation of the Gaussian noise on every point.
    """

    def __init__(self, noise: float = 0.05) -> None:
        self.noise = noise

    def draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, None]:
        turn = _uniform(n, generator).sqrt()  # the arm's length grows as the square of the angle
        x = 2.0 * turn.unsqueeze(-1) * _on_circle(3 * math.pi * turn)
        return x + self.noise * _normal(n, generator), None


class EightGaussians(GaussianMixture):
    """Eight equal modes on a circle of radius 2, with a density and a score; the mode is the class.

    Args:
        std: Standard deviation of each mode.
    """

    def __init__(self, std: float = 0.15) -> None:
        means = 2.0 * _on_circle(torch.arange(8) * (math.pi / 4))
        super().__init__(torch.ones(8), means, std**2 * torch.eye(2).expand(8, 2, 2))


def three_gaussians() -> GaussianMixture:
    """Three unequal Gaussians, one of them long and tilted: the smallest mixture on which nothing is symmetric."""
    return GaussianMixture(
        weights=[0.5, 0.3, 0.2],
        means=[[-1.2, 0.3], [1.2, 0.9], [1.2, -2.1]],
        covariances=[[[0.2, 0.1], [0.1, 0.4]], [[0.1, 0.0], [0.0, 0.1]], [[0.5, -0.2], [-0.2, 0.1]]],
    )


SHAPES_2D: dict[str, Callable[[], Distribution]] = {
    "moons": Moons,
    "8gaussians": EightGaussians,
    "checkerboard": Checkerboard,
    "circles": Circles,
    "scurve": SCurve,
    "spiral": Spiral,
    "mixture": three_gaussians,
}


def shape_2d(name: str) -> Distribution:
    """The two-dimensional law of that name, as in `SHAPES_2D`.

    Raises:
        UserError: When there is none of that name.
    """
    if name not in SHAPES_2D:
        raise UserError(f"there is no 2-D shape '{name}'", hint=nearest(name, SHAPES_2D))
    return SHAPES_2D[name]()


def _on_circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def _uniform(n: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(n, generator=generator, device=drawing_device(generator))


def _normal(n: int, generator: torch.Generator | None) -> Tensor:
    return torch.randn(n, 2, generator=generator, device=drawing_device(generator))


def _integers(bound: int, n: int, generator: torch.Generator | None) -> Tensor:
    return torch.randint(bound, (n,), generator=generator, device=drawing_device(generator))
