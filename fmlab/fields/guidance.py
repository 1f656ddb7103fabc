"""Guidance of any field: how it is described, what it makes of two predictions, and the guided field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import ConditionedField, PathField
from fmlab.fields.classifier_guidance import Classifier, ClassifierConditioned
from fmlab.fields.schedule_change import ScheduleChange
from fmlab.paths import PathPrediction, expand_time, gaussian_path


@dataclass(frozen=True)
class Guidance:
    """Guidance of a field u(x | y) away from a guide: (1 - w) u_guide + w u(x | y), and changes of the difference.

    It is plain data that a user can type and a record can hold.

    The guide is the unconditional field (Ho and Salimans, 2022), or that of a weaker network under the same condition
    (Karras et al. 2024). The condition is the network's own, or Bayes' rule with a classifier of noisy points
    (Dhariwal and Nichol, 2021).

    Args:
        scale: w: 0 is the guide alone, 1 the conditional field, more than 1 is guided.
        interval: The first and the last t, on the trained path, of guidance; outside w = 1 (Kynkäänniemi et al. 2024).
        rescale: In [0, 1]: how far the guided data prediction's standard deviation over each event is brought back to
            that of the conditional one (Lin et al. 2024, section 3.4).
        eta: The factor of the difference's part along the conditional data prediction, which over-saturates (Sadat et
            al. 2024, without momentum, which needs a state across steps); 1 leaves the difference as it is.
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
        """Whether the guided field is the plain mixture at every t."""
        return not {"interval", "rescale", "eta", "norm_threshold"} & set(self.changes)

    def setting(self) -> dict[str, Any]:
        """All of it in plain values as JSON knows them, for a record."""
        return {**dataclasses.asdict(self), "interval": list(self.interval)}

    def inside(self, t: Tensor) -> Tensor | None:
        """Where t, of shape () or (B,), lies in the interval; None if the interval is all of time."""
        first, last = self.interval
        return None if (first, last) == (0.0, 1.0) else (t >= first) & (t <= last)

    @property
    def name(self) -> str:
        """A part of a file's name: `w2` for a plain scale, `w2_interval0.1-0.9_rescale0.7`, `w2_weak20261123-...`."""
        rest = [f"{key}{_short(value)}" for key, value in self.changes.items() if key != "scale"]
        return "_".join([f"w{self.scale:g}", *rest])


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(f"{time:g}" for time in value)
    return value.rpartition("/")[2] if isinstance(value, str) else f"{value:g}"


_DEFAULTS = Guidance().setting()


class GuidedField(PathField):
    """(1 - w) u_guide + w u_main, within an interval of t, projected and rescaled as the guidance says.

    With the unconditional field as the guide it is classifier-free guidance, with a weaker network's autoguidance.
    Mixing commutes with every conversion of a prediction, so the guided field has velocity, score, noise and data as
    any other. A field whose weight is 0 for every point of the batch is not evaluated. Times of one batch that lie on
    both sides of the interval's ends cost both evaluations.

    Args:
        main: What is guided, u(. | y).
        guide: What it is guided away from, on the same path.
        guidance: w, or how it is guided; the runs that it may name play no part here.
    """

    def __init__(self, main: PathField, guide: PathField, guidance: float | Guidance) -> None:
        self.main, self.guide, self.guidance = main, guide, Guidance.of(guidance)
        super().__init__(main.path)

    @property
    def nfe(self) -> int:
        """Forwards of both fields."""
        return self.main.nfe + self.guide.nfe

    @nfe.setter
    def nfe(self, value: int) -> None:
        self.main.nfe, self.guide.nfe = value, value

    def __call__(self, x: Tensor, t: Tensor) -> PathPrediction:
        return self.evaluate(x, t)

    def evaluate(self, x: Tensor, t: Tensor) -> PathPrediction:
        guidance, inside = self.guidance, self.guidance.inside(t)
        if guidance.scale == 1 or (inside is not None and not inside.any()):
            return self.main(x, t)
        if guidance.scale == 0 and guidance.is_mix:
            return self.guide(x, t)
        main, guide = self.main.evaluate_both(self.guide, x, t)
        scale = guidance.scale
        weight = scale if inside is None else torch.where(expand_time(inside, x) > 0, scale, 1.0)
        guided = extrapolate(main, guide, weight, guidance.eta, guidance.norm_threshold)
        return rescale(guided, main, guidance.rescale) if guidance.rescale else guided


def guided(
    field: ConditionedField,
    guidance: float | Guidance,
    *,
    weak: ConditionedField | None = None,
    classifier: Classifier | None = None,
) -> PathField:
    """A learned or exact field, guided; the conditional field itself at scale 1.

    Args:
        field: The field under its condition.
        guidance: The plain scale, or how it is guided.
        weak: A weaker field under the same condition, the guide in place of the unconditional field. On another
            Gaussian path, it is followed along this one.
        classifier: log p_t(y | x) on the field's path, from which the condition comes in place of the network's own.

    Raises:
        UserError: If guidance is asked of a field without a condition, or the guidance names a run whose part is not
            given here.
    """
    guidance = Guidance.of(guidance)
    for name, part in (("weak", weak), ("classifier", classifier)):
        if getattr(guidance, name) is not None and part is None:
            raise UserError("names a run, which only a finished run can load", key=f"guidance.{name}")
    if field.condition is None and (classifier is not None or (weak is None and guidance.scale != 1)):
        raise UserError(
            f"guidance scale {guidance.scale:g} asked of a model without labels",
            key="guidance.scale",
            hint="use guidance scale 1",
        )
    main = field if classifier is None else _by_bayes(field.unconditional(), classifier, field.condition)
    if guidance.scale == 1:
        return main
    if weak is None:
        return GuidedField(main, main.unconditional(), guidance)
    guide: PathField = weak if classifier is None else weak.unconditional()
    if repr(guide.path) != repr(field.path):
        guide = ScheduleChange(guide, gaussian_path(field.path, "a guide on another path"))
    return GuidedField(main, guide if classifier is None else _by_bayes(guide, classifier, field.condition), guidance)


def _by_bayes(field: PathField, classifier: Classifier, condition: Tensor | None) -> ClassifierConditioned:
    assert condition is not None
    return ClassifierConditioned(field, classifier, condition)


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
    the difference, so it is done in the quantity that `main` holds, and nothing is divided by alpha or beta.

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
