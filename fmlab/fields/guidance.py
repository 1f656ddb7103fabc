"""How a field is guided, as plain data that a user can type and a record can hold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fmlab.errors import UserError


@dataclass(frozen=True)
class Guidance:
    """Guidance of a field u(x | y) away from a guide: (1 - w) u_guide + w u(x | y), and what is made of the difference.

    The guide is the unconditional field (Ho and Salimans, 2022), or that of a weaker network under the same condition
    (Karras et al. 2024). The condition is the network's own, or Bayes' rule with a classifier of noisy points
    (Dhariwal and Nichol, 2021).

    Args:
        scale: w: 0 is the guide alone, 1 the conditional field, more than 1 is guided.
        interval: The first and the last t, on the trained path, of guidance; outside w = 1 (Kynkäänniemi et al. 2024).
        rescale: In [0, 1]: how far the guided data prediction's standard deviation over each event is brought back to
            that of the conditional one (Lin et al. 2024, section 3.4).
        eta: How much counts of the difference's part along the conditional data prediction, which over-saturates
            (Sadat et al. 2024, without momentum, which needs a state across steps); 1 leaves the difference as it is.
        norm_threshold: The largest norm of an event's difference in the data prediction, positive (r of Sadat et al.
            2024); None is no limit.
        weak: The run whose network is the guide, as RUN, RUN@last, RUN@raw or RUN@FILE.
        classifier: The run of a `NoisyClassifier`, likewise.

    Raises:
        UserError: If a number is out of its range.
    """

    scale: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0
    eta: float = 1.0
    norm_threshold: float | None = None
    weak: str | None = None
    classifier: str | None = None

    def __post_init__(self) -> None:
        if len(self.interval) != 2 or not 0 <= self.interval[0] < self.interval[1] <= 1:
            given = ", ".join(f"{time:g}" for time in self.interval)
            hint = "the first and the last t of guidance, such as 0.1,0.9"
            raise UserError(f"no interval of t in [0, 1]: {given}", key="guidance.interval", hint=hint)
        if not 0 <= self.rescale <= 1:
            raise UserError(f"lies in [0, 1], got {self.rescale:g}", key="guidance.rescale")
        if self.norm_threshold is not None and not self.norm_threshold > 0:
            raise UserError(f"is positive, got {self.norm_threshold:g}", key="guidance.norm_threshold")
        object.__setattr__(self, "interval", tuple(self.interval))

    @classmethod
    def of(cls, guidance: float | Guidance) -> Guidance:
        """A number is the plain scale."""
        return guidance if isinstance(guidance, Guidance) else cls(scale=guidance)

    @property
    def changes(self) -> dict[str, Any]:
        """What differs from the defaults, in plain values as JSON knows them."""
        return {key: value for key, value in self.setting().items() if value != _DEFAULTS[key]}

    @property
    def is_mix(self) -> bool:
        """Whether the guided field is the mixture at every t, with nothing made of the difference."""
        return not {"interval", "rescale", "eta", "norm_threshold"} & set(self.changes)

    def setting(self) -> dict[str, Any]:
        """All of it in plain values as JSON knows them, for a record."""
        return {**dataclasses.asdict(self), "interval": list(self.interval)}

    def inside(self, t: Tensor) -> Tensor | None:
        """Where t, of shape () or (B,), lies in the interval; None where that is everywhere and need not be asked."""
        first, last = self.interval
        return None if (first, last) == (0.0, 1.0) else (t >= first) & (t <= last)

    @property
    def name(self) -> str:
        """A part of a file's name: `w2` for a plain scale, `w2_interval0.1-0.9_rescale0.7`, `w2_weak20261123-...`."""
        rest = [f"{key}{_word(value)}" for key, value in self.changes.items() if key != "scale"]
        return "_".join([f"w{self.scale:g}", *rest])


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(f"{time:g}" for time in value)
    return value.rpartition("/")[2] if isinstance(value, str) else f"{value:g}"


_DEFAULTS = Guidance().setting()
