"""What guidance makes of two predictions at the same points: a mixture, projected, limited, rescaled."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.paths import PathPrediction


def extrapolate(
    main: PathPrediction,
    guide: PathPrediction,
    weight: float | Tensor,
    eta: float = 1.0,
    norm_threshold: float | None = None,
) -> PathPrediction:
    """main + (weight - 1) limit (orthogonal + eta parallel), for the difference main - guide.

    The parts are orthogonal and parallel to the data prediction of `main`, and limit = min(1, norm_threshold / norm) of
    the difference in the data prediction, event by event (Sadat et al. 2024, equations 7 to 10). All of it is linear in
    the difference, so it is done in the quantity that `main` keeps and nothing is divided by.

    Args:
        main: What is extrapolated to.
        guide: What is extrapolated away from.
        weight: w, a number or one an event that broadcasts against x.
        eta: The factor of the parallel part.
        norm_threshold: The largest norm; None is no limit.
    """
    if norm_threshold is not None:
        weight = 1 + (weight - 1) * (norm_threshold / _norm(main.data - guide.data)).clamp(max=1)
    if eta == 1:
        return main.mix(guide, 1 - weight)
    direction = main.data / _norm(main.data).clamp_min(torch.finfo(main.x.dtype).tiny)

    def projected(own: Tensor, others: Tensor) -> Tensor:
        difference = own - others
        parallel = _over_event((difference * direction).flatten(1).sum(1), own) * direction
        return own + (weight - 1) * (difference + (eta - 1) * parallel)

    return main.combine(guide, projected)


def rescale(guided: PathPrediction, main: PathPrediction, share: float) -> PathPrediction:
    """The data prediction times share std(main) / std(guided) + 1 - share, the deviations taken over each event.

    Lin et al. 2024, equations 14 to 16. An event that has no deviation is left as it is.
    """
    data = guided.data
    deviation = _deviation(data)
    ratio = torch.where(deviation > 0, _deviation(main.data) / deviation, 1.0)
    return guided.moved("data", share * (ratio - 1) * data)


def _norm(x: Tensor) -> Tensor:
    """The Euclidean norm of each event, broadcasting against `x`."""
    return _over_event(torch.linalg.vector_norm(x.flatten(1), dim=1), x)


def _deviation(x: Tensor) -> Tensor:
    """The standard deviation of each event's entries, broadcasting against `x`."""
    return _over_event(x.flatten(1).std(1, correction=0), x)


def _over_event(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.ndim - 1))
