"""ODE and SDE integrators and their time grids; they know fields, not networks."""

from fmlab.solvers.base import Field, NoiseSource, Solver, step_times
from fmlab.solvers.diffusion import ConstantDiffusion, DiffusionCoefficient, MemorylessDiffusion, NoiseLevelDiffusion
from fmlab.solvers.grids import Grid, RhoGrid, UniformGrid
from fmlab.solvers.ode import Euler, Heun
from fmlab.solvers.sde import EulerMaruyama
from fmlab.solvers.seeds import SeededNoise

__all__ = [
    "ConstantDiffusion",
    "DiffusionCoefficient",
    "Euler",
    "EulerMaruyama",
    "Field",
    "Grid",
    "Heun",
    "MemorylessDiffusion",
    "NoiseLevelDiffusion",
    "NoiseSource",
    "RhoGrid",
    "SeededNoise",
    "Solver",
    "UniformGrid",
    "step_times",
]
