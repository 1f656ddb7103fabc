"""The metrics of generated images by name: what each needs, and how it and its spread are computed.

Importing this is light: a command checks its words with it before anything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fmlab.errors import UserError, nearest


@dataclass(frozen=True)
class ImageMetric:
    """What is known of a metric before any image.

    Args:
        title: What it is, for messages.
        images: The fewest generated images, and reference images where it compares those, that it can do with.
        estimator: How it is computed; part of the measurement.
        spread: What the `_std` beside each of its values is.
        scores: The names of its values.
        better: Whether less or more of them is better.
    """

    title: str
    images: int
    estimator: str
    spread: str
    scores: tuple[str, ...]
    better: Literal["less", "more"]


METRICS = {
    "fid": ImageMetric(
        "the Fréchet distance",
        20,
        "unbiased covariances, float64 sums, symmetric eigenvalues, v1",
        "standard error, by leaving out each of 10 splits",
        ("fid",),
        "less",
    ),
    "kid": ImageMetric(
        "the kernel distance",
        4,
        "unbiased, (x.y / D + 1)^3, all pairs of at most 10,000 images of each set, v1",
        "standard deviation over 100 subsets, whose mean is kid_subsets",
        ("kid", "kid_subsets"),
        "less",
    ),
    "is": ImageMetric(
        "the Inception Score",
        20,
        "by the class logits of the features' own network, mean over 10 splits, v1",
        "standard deviation over the 10 splits",
        ("is",),
        "more",
    ),
    "prdc": ImageMetric(
        "precision, recall, density and coverage",
        6,
        "k = 3 for precision and recall, 5 for density and coverage, at most 10,000 images of each set, v1",
        "standard error of the mean over the images that are judged",
        ("precision", "recall", "density", "coverage"),
        "more",
    ),
    "accuracy": ImageMetric(
        "the class accuracy",
        2,
        "share of images in which the domain classifier sees their label, v1",
        "standard error of the share",
        ("accuracy",),
        "more",
    ),
}
"""The metrics of images, in the order in which they are shown."""


def check_metrics(names: Iterable[str], num_images: int | None = None) -> list[str]:
    """The names of metrics, each once, in the order of `METRICS`.

    Raises:
        UserError: A name is unknown, there is none, or a metric needs more than `num_images`.
    """
    names = list(names)
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric called {name!r}", key="metrics", hint=nearest(name, METRICS))
    if not names:
        raise UserError("no metric is named", key="metrics", hint=f"choose from: {', '.join(METRICS)}")
    for name in names:
        wanted = METRICS[name]
        if num_images is not None and num_images < wanted.images:
            raise UserError(
                f"{name}, {wanted.title}, needs at least {wanted.images} images, not {num_images}", key="metrics"
            )
    return [name for name in METRICS if name in names]
