"""A prediction moved in one quantity, and cut into rows (facts F4, F39)."""

from __future__ import annotations

import pytest
import torch
from helpers.every_path import PATHS

from fmlab.errors import UserError
from fmlab.paths import CondOT, FlowAndScore, GaussianPath, Interpolant, Kind, PathPrediction, Posterior, Prediction

KINDS: tuple[Kind, ...] = ("velocity", "score", "noise", "data")
T = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


def predictions(path: GaussianPath) -> list[PathPrediction]:
    """One of each class and kind, of an unrelated x."""
    x, first, second = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    single = [Prediction(path, x, T, kind, first) for kind in KINDS]
    noise = (x - path.alpha(T)[:, None] * first) / path.beta(T)[:, None]
    return [*single, Posterior(path, x, T, first, noise), FlowAndScore(path, x, T, first, second)]


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_every_quantity_moves_by_its_share(path: GaussianPath) -> None:
    """F4, F39: of a score moved by c, the velocity moves by beta D / alpha c, the data by beta^2 / alpha c, the noise
    by -beta c; of data moved by c, the velocity by D / beta c."""
    a, b, wronskian = path.alpha(T)[:, None], path.beta(T)[:, None], path.wronskian(T)[:, None]
    shares = {
        "score": {"velocity": b * wronskian / a, "score": 1.0, "noise": -b, "data": b**2 / a},
        "data": {"velocity": wronskian / b, "score": a / b**2, "noise": -a / b, "data": 1.0},
    }
    for prediction in predictions(path):
        change = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        for moved, by in shares.items():
            result = prediction.moved(moved, change)  # type: ignore[arg-type]
            for kind, share in by.items():
                expected = prediction.as_kind(kind) + share * change  # type: ignore[arg-type]
                torch.testing.assert_close(result.as_kind(kind), expected, rtol=1e-9, atol=1e-9)


def test_nothing_is_infinite_at_the_ends_of_time() -> None:
    x = torch.randn(3, 4)
    for path in PATHS:
        for time in (0.0, 1.0):
            for kind in KINDS:
                prediction = Prediction(path, x, torch.tensor(time), kind, x)
                for moved in ("score", "data"):
                    assert torch.isfinite(prediction.moved(moved, torch.ones_like(x)).velocity).all()


def test_a_weight_a_point() -> None:
    """A tensor that broadcasts against x weighs every point by its own number."""
    for path in (CondOT(),):
        for first, second in zip(predictions(path), reversed(predictions(path))):
            weights = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
            mixed = first.mix(second, weights[:, None]).velocity
            for row, weight in enumerate(weights.tolist()):
                torch.testing.assert_close(mixed[row], first.mix(second, weight).velocity[row])


@pytest.mark.parametrize("times", [T, T[1]], ids=["each", "one"])
def test_rows_of_a_prediction(times: torch.Tensor) -> None:
    """Some of the points, with their own x and t."""
    for prediction in predictions(CondOT()):
        x, t = prediction.x, times
        prediction = (
            type(prediction)(**{**vars(prediction), "t": t}) if not isinstance(prediction, Prediction) else prediction
        )
        part = prediction.rows(1, 3)
        assert torch.equal(part.x, x[1:3])
        for kind in KINDS:
            assert torch.equal(part.as_kind(kind), prediction.as_kind(kind)[1:3])


def test_a_path_that_does_not_convert_is_refused() -> None:
    prediction = FlowAndScore(Interpolant(), torch.zeros(1, 2), torch.tensor(0.5), torch.zeros(1, 2))
    with pytest.raises(UserError, match="Gaussian path, here is Interpolant"):
        prediction.moved("data", torch.zeros(1, 2))
