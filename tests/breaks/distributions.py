"""Breaks of the room `distributions`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "a training point's own norm forgotten",
        "distributions/empirical.py",
        "alpha**2 / 2 * squares",
        "alpha / 2 * squares",
        "tests/distributions/test_empirical.py",
    ),
    Mutant(
        "the exponents of a training set in float32",
        "distributions/empirical.py",
        "exact, alpha, beta = x.double(), alpha.to(x.device).double(), beta.to(x.device).double()",
        "exact, alpha, beta = x.float(), alpha.to(x.device).float(), beta.to(x.device).float()",
        "tests/distributions/test_empirical.py",
    ),
    Mutant(
        "earlier chunks not rescaled",
        "distributions/empirical.py",
        "total = shrink * total + share @ points",
        "total = total + share @ points",
        "tests/distributions/test_empirical.py",
    ),
    Mutant(
        "mirror images left out of the posterior",
        "distributions/empirical.py",
        "            if self.mirrored:\n                yield",
        "            if not points.ndim:\n                yield",
        "tests/distributions/test_empirical.py tests/training/test_loss_floor.py",
    ),
    Mutant(
        "expected noise where there is none",
        "distributions/empirical.py",
        "torch.where(beta > 0, (exact - alpha * data) / divisor, torch.zeros_like(exact))",
        "(exact - alpha * data) / beta",
        "tests/distributions/test_empirical.py",
    ),
    Mutant(
        "a mixture's variance without its noise",
        "distributions/gaussian.py",
        "total = alpha[..., None] ** 2 * variances + beta[..., None] ** 2",
        "total = alpha[..., None] ** 2 * variances + beta[..., None]",
        "tests/distributions/test_gaussian_posterior.py",
    ),
    Mutant(
        "responsibilities without their determinants",
        "distributions/gaussian.py",
        "fit = -0.5 * (along**2 / total + total.log()).sum(-1)",
        "fit = -0.5 * (along**2 / total).sum(-1)",
        "tests/distributions/test_gaussian_posterior.py",
    ),
]
