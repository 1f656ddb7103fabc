"""Laws with known samples, and where they exist known log-densities and scores. Knows nothing of training."""

from fmlab.distributions.base import Distribution
from fmlab.distributions.empirical import Empirical
from fmlab.distributions.gaussian import Gaussian, GaussianMixture
from fmlab.distributions.kernel_density import KernelDensity
from fmlab.distributions.shapes import (
    SHAPES_2D,
    Checkerboard,
    Circles,
    EightGaussians,
    Moons,
    SCurve,
    Shape2D,
    Spiral,
    shape_2d,
    three_gaussians,
)

__all__ = [
    "SHAPES_2D",
    "Checkerboard",
    "Circles",
    "Distribution",
    "EightGaussians",
    "Empirical",
    "Gaussian",
    "GaussianMixture",
    "KernelDensity",
    "Moons",
    "SCurve",
    "Shape2D",
    "Spiral",
    "shape_2d",
    "three_gaussians",
]
