"""ODE and SDE integrators and their time grids; they know fields, not networks."""

from fmlab.solvers.adams_bashforth import AB2, AB3, AB4
from fmlab.solvers.base import Field, FieldValue, Past, Solver, Step
from fmlab.solvers.churn import EDMChurn
from fmlab.solvers.diffusion import (
    ConstantDiffusion,
    DiffusionCoefficient,
    MemorylessDiffusion,
    NoiseLevelDiffusion,
    ProportionalDiffusion,
    SineDiffusion,
)
from fmlab.solvers.divergence import Divergence, ExactDivergence, HutchinsonDivergence
from fmlab.solvers.dopri5 import Dopri5
from fmlab.solvers.exponential import DDIM, DPMSolverPP2S
from fmlab.solvers.exponential_multistep import DPMSolverPP2M, DPMSolverPP3M, UniPC
from fmlab.solvers.exponential_sde import DPMSolverPP2MSDE
from fmlab.solvers.grids import CosineGrid, Grid, ListGrid, LogitGrid, LogSNRGrid, RhoGrid, ShiftedGrid, UniformGrid
from fmlab.solvers.likelihood import Density, StandardNormal, initial_log_density, log_likelihood
from fmlab.solvers.noise import NoiseFn, SeededNoise, seeded_probe
from fmlab.solvers.predictor_corrector import PredictorCorrector
from fmlab.solvers.runge_kutta import RK3, RK4, Euler, Heun, Midpoint, Ralston
from fmlab.solvers.sde import EulerMaruyama, StochasticHeun

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
    "Density",
    "DiffusionCoefficient",
    "Divergence",
    "Dopri5",
    "EDMChurn",
    "Euler",
    "EulerMaruyama",
    "ExactDivergence",
    "Field",
    "FieldValue",
    "Grid",
    "Heun",
    "HutchinsonDivergence",
    "ListGrid",
    "LogSNRGrid",
    "LogitGrid",
    "MemorylessDiffusion",
    "Midpoint",
    "NoiseFn",
    "NoiseLevelDiffusion",
    "Past",
    "PredictorCorrector",
    "ProportionalDiffusion",
    "Ralston",
    "RhoGrid",
    "SeededNoise",
    "ShiftedGrid",
    "SineDiffusion",
    "Solver",
    "StandardNormal",
    "Step",
    "StochasticHeun",
    "UniPC",
    "UniformGrid",
    "initial_log_density",
    "log_likelihood",
    "seeded_probe",
]
