"""The Gaussian paths that every test of the theory runs over, with and without noise left at the end."""

from __future__ import annotations

from fmlab.paths import EDM, VE, VP, CondOT, Cosine, GaussianPath, LinearVP, Polynomial, Sqrt, SubVP

PATHS: list[GaussianPath] = [
    CondOT(),
    CondOT(sigma_min=0.1),
    Cosine(),
    Cosine(sigma_min=0.1),
    Polynomial(2),
    Polynomial(3),
    Polynomial(2, sigma_min=0.1),
    Sqrt(),
    VP(),
    SubVP(),
    LinearVP(),
    VE(),
    EDM(),
]
