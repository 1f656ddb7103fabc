"""Guidance round any pair of fields."""

from __future__ import annotations

import torch
from torch import Tensor

from fmlab.errors import UserError
from fmlab.fields.base import ConditionedField, PathField
from fmlab.fields.guidance import Guidance
from fmlab.fields.guidance_classifier import Classifier, ClassifierConditioned
from fmlab.fields.guidance_rules import extrapolate, rescale
from fmlab.fields.schedule_change import ScheduleChange
from fmlab.paths import PathPrediction, expand_time, gaussian_path


class GuidedField(PathField):
    """(1 - w) u_guide + w u_main, within an interval of t, projected and rescaled as the guidance says.

    With the unconditional field as the guide it is classifier-free guidance, with a weaker network's autoguidance.
    Mixing commutes with every conversion of a prediction, so the guided field has velocity, score, noise and data as
    any other. A field whose weight is 0 for every point of the batch is not evaluated. Times of one batch that lie on
    both sides of the interval's ends cost both evaluations.

    Args:
        main: What is guided, u(. | y).
        guide: What it is guided away from, on the same path.
        guidance: w, or how it is guided; the runs that it may name are not looked at.
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
        how, inside = self.guidance, self.guidance.inside(t)
        if how.scale == 1 or (inside is not None and not inside.any()):
            return self.main(x, t)
        if how.scale == 0 and how.is_mix:
            return self.guide(x, t)
        main, guide = self.main.together(self.guide, x, t)
        weight = how.scale if inside is None else torch.where(expand_time(inside, x) > 0, how.scale, 1.0)
        guided = extrapolate(main, guide, weight, how.eta, how.norm_threshold)
        return rescale(guided, main, how.rescale) if how.rescale else guided


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
            raise UserError("names a run, and only a finished run loads another", key=f"guidance.{name}")
    if field.condition is None and (classifier is not None or (weak is None and guidance.scale != 1)):
        raise UserError(
            f"guidance scale {guidance.scale:g} asked of a model without labels",
            key="guidance_scale",
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
