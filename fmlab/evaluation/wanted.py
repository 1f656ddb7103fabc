"""The metrics of an evaluation by name: what each is for, and what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fmlab.errors import UserError, nearest
from fmlab.metrics.wanted import METRICS as IMAGE_METRICS


@dataclass(frozen=True)
class Wanted:
    """A metric that can be asked for.

    Attributes:
        kind: Whether it compares images, points or either.
        estimator: How it is estimated, with a version that changes when numbers do.
        better: Whether less or more of it is better; None where neither is.
        least: The fewest samples it can be computed from.
        one_to_one: Whether each sample is matched with a reference point of its own.
    """

    kind: Literal["images", "points", "either"]
    estimator: str
    better: Literal["less", "more"] | None = "less"
    least: int = 2
    one_to_one: bool = False


METRICS: dict[str, Wanted] = {
    **{name: Wanted("images", known.estimator, known.better, known.images) for name, known in IMAGE_METRICS.items()},
    "bpd": Wanted("images", "by `LikelihoodScores`, on held-out images", least=1),
    "w2": Wanted("points", "exact assignment to a fixed choice of as many reference points, v1", one_to_one=True),
    "mmd": Wanted("points", "Gaussian kernel, median bandwidth, all pairs, unbiased, v1"),
    "neighbours": Wanted(
        "either",
        "distance to the nearest training example: median over that of held-out examples, and the share below their "
        "first percentile, v1; spread: standard error by the bootstrap",
        better=None,
    ),
}
"""The metrics there are, in the order in which they are shown."""

USUAL = {"images": ["fid", "kid"], "points": ["w2", "mmd"]}
"""The metrics where none is named."""


def check_wanted(names: Sequence[str], kind: str, samples: int) -> None:
    """Refuses metrics that there are not, that are for another kind of data, or that need more samples.

    Raises:
        UserError: At the first such metric.
    """
    fitting = [name for name, wanted in METRICS.items() if wanted.kind in (kind, "either")]
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric {name!r}", key="metrics", hint=nearest(name, fitting))
        if name not in fitting:
            cause = f"{name} compares {METRICS[name].kind}, and these are {kind}"
            raise UserError(cause, key="metrics", hint=f"choose from: {', '.join(fitting)}")
        if samples < METRICS[name].least:
            least = METRICS[name].least
            raise UserError(
                f"{name} needs at least {least} {kind}, got {samples}",
                key="num_samples",
                hint=f"--num_samples {least} or more",
            )
