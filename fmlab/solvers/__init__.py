"""ODE and SDE integrators and their time grids; they know fields, not networks."""

from fmlab.solvers.adams_bashforth import AB2, AB3, AB4
from fmlab.solvers.base import Field, NoiseSource, Solver, step_times
from fmlab.solvers.churn import EDMChurn
from fmlab.solvers.diffusion import (
    ConstantDiffusion,
    DiffusionCoefficient,
    MemorylessDiffusion,
    NoiseLevelDiffusion,
    ProportionalDiffusion,
    SineDiffusion,
)
from fmlab.solvers.dopri5 import Dopri5
from fmlab.solvers.exponential import DDIM, DPMSolverPP2S
from fmlab.solvers.exponential_multistep import DPMSolverPP2M, DPMSolverPP3M, UniPC
from fmlab.solvers.exponential_sde import DPMSolverPP2MSDE
from fmlab.solvers.grids import CosineGrid, Grid, ListGrid, LogitGrid, LogSNRGrid, RhoGrid, ShiftedGrid, UniformGrid
from fmlab.solvers.ode import Euler, Heun
from fmlab.solvers.predictor_corrector import PredictorCorrector
from fmlab.solvers.runge_kutta import RK3, RK4, Midpoint, Ralston
from fmlab.solvers.sde import EulerMaruyama, StochasticHeun
from fmlab.solvers.seeds import SeededNoise

__all__ = [
    "AB2",
    "AB3",
    "AB4",
    "DDIM",
    "RK3",
    "RK4",
    "ConstantDiffusion",
    "CosineGrid",
    "DPMSolverPP2M",
    "DPMSolverPP2MSDE",
    "DPMSolverPP2S",
    "DPMSolverPP3M",
    "DiffusionCoefficient",
    "Dopri5",
    "EDMChurn",
    "Euler",
    "EulerMaruyama",
    "Field",
    "Grid",
    "Heun",
    "ListGrid",
    "LogSNRGrid",
    "LogitGrid",
    "MemorylessDiffusion",
    "Midpoint",
    "NoiseLevelDiffusion",
    "NoiseSource",
    "PredictorCorrector",
    "ProportionalDiffusion",
    "Ralston",
    "RhoGrid",
    "SeededNoise",
    "ShiftedGrid",
    "SineDiffusion",
    "Solver",
    "StochasticHeun",
    "UniPC",
    "UniformGrid",
    "step_times",
]
