"""The other runs that a guidance names: a weaker network, a classifier of noisy points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fmlab.errors import UserError
from fmlab.fields import ConditionedField, Guidance, LearnedClassifier, LearnedField, PathField, guided
from fmlab.inference.exported import is_exported
from fmlab.records import find_run

if TYPE_CHECKING:
    from fmlab.inference.trained import Trained


@dataclass(frozen=True)
class RunWeights:
    """Which weights of which run: what RUN, RUN@last, RUN@raw and RUN@FILE@raw say.

    Attributes:
        run: The run's folder, its id, or an experiment's name (its newest run); or an exported file.
        checkpoint: `best`, `last` or a file.
        weights: The averaged weights or the trained ones as they are.
    """

    run: str
    checkpoint: str = "best"
    weights: Literal["averaged", "raw"] = "averaged"

    @classmethod
    def parse(cls, text: str) -> RunWeights:
        """Reads the words between the `@`; `raw` means the weights, any other a checkpoint."""
        if Path(text).is_dir() or is_exported(text):
            return cls(text)
        run, *words = text.split("@")
        checkpoint = next((word for word in words if word != "raw"), cls.checkpoint)
        return cls(run, checkpoint, "raw" if "raw" in words else "averaged")

    def __str__(self) -> str:
        if is_exported(self.run):  # which leaves nothing to choose
            return self.run
        return "@".join([self.run, self.checkpoint, *(["raw"] if self.weights == "raw" else [])])


def resolved(guidance: Guidance) -> Guidance:
    """The guidance with every run by its folder and its checkpoint, for a record: a name's newest run may change.

    Raises:
        UserError: If there is no such run or checkpoint.
    """
    weak, classifier = (None if run is None else _resolved(run) for run in (guidance.weak, guidance.classifier))
    return replace(guidance, weak=weak, classifier=classifier)


def _resolved(text: str) -> str:
    parsed = RunWeights.parse(text)
    if is_exported(parsed.run):
        return str(Path(parsed.run).resolve())
    layout = find_run(parsed.run)
    layout.checkpoint(parsed.checkpoint)
    return str(replace(parsed, run=str(layout.root)))


class Guides:
    """The runs that guidance of a trained field names, each loaded once.

    Args:
        trained: What is guided.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self._weak: dict[str, Trained] = {}
        self._classifiers: dict[str, tuple[LearnedClassifier, int]] = {}

    def guided(self, field: ConditionedField, guidance: float | Guidance) -> PathField:
        """The field, guided as the guidance says.

        Raises:
            UserError: If a run cannot be read, or does not go with what is guided.
        """
        guidance = Guidance.of(guidance)
        by_itself = guidance.classifier is not None or (guidance.weak is None and guidance.scale != 1)
        if by_itself and isinstance(field, LearnedField) and not self.trained.unconditional:
            raise UserError(
                "the network has never been trained without a label (model.label_dropout was 0)",
                key="guidance.scale",
                hint="use guidance scale 1, or autoguidance with --guidance.weak",
            )
        weak = None if guidance.weak is None else self._weak_field(guidance.weak, field)
        classifier = None if guidance.classifier is None else self._classifier(guidance.classifier)[0]
        return guided(field, guidance, weak=weak, classifier=classifier)

    def num_classes(self, guidance: float | Guidance) -> int | None:
        """How many labels there are to choose from: the trained network's own, or else the classifier's."""
        name = Guidance.of(guidance).classifier
        return self.trained.num_classes if name is None else self._classifier(name)[1]

    def _weak_field(self, name: str, field: ConditionedField) -> LearnedField:
        if name not in self._weak:
            from fmlab.inference.load import load

            wanted = RunWeights.parse(name)
            weak = load(wanted.run, wanted.checkpoint, wanted.weights, self.trained.device, trust=self.trained.trust)
            self._check("weak", weak.shape, weak.num_classes)
            self._weak[name] = weak
        weak = self._weak[name]
        return LearnedField(weak.network, weak.path, weak.prediction, field.condition)

    def _classifier(self, name: str) -> tuple[LearnedClassifier, int]:
        if name not in self._classifiers:
            self._classifiers[name] = self._load_classifier(RunWeights.parse(name))
        return self._classifiers[name]

    def _load_classifier(self, wanted: RunWeights) -> tuple[LearnedClassifier, int]:
        from fmlab.inference.load import load_module
        from fmlab.training.noisy_classifier import NoisyClassifier

        module, _, state = load_module(
            find_run(wanted.run), wanted.checkpoint, wanted.weights, trust=self.trained.trust
        )
        if not isinstance(module, NoisyClassifier):
            cause = f"{wanted.run} is a run of {type(module).__name__}, not of NoisyClassifier"
            raise UserError(
                cause, key="guidance.classifier", hint="fmlab fit --config experiments/classifier_digits.yaml"
            )
        assert module.num_classes is not None
        self._check("classifier", tuple(state["fmlab"]["shape"]), module.num_classes)
        if repr(module.path) != repr(self.trained.path):
            cause = f"the classifier was trained on {module.path!r}, what it is to guide on {self.trained.path!r}"
            hint = f"train it with --model.path={type(self.trained.path).__name__}"
            raise UserError(cause, key="guidance.classifier", hint=hint)
        network = module.network.to(self.trained.device).eval().requires_grad_(False)
        return LearnedClassifier(network, module.path), module.num_classes

    def _check(self, key: str, shape: tuple[int, ...], num_classes: int | None) -> None:
        """Refuses a run on other events or classes."""
        if shape != self.trained.shape:
            raise UserError(f"works on shape {shape}, not on {self.trained.shape}", key=f"guidance.{key}")
        own = self.trained.num_classes
        if None not in (own, num_classes) and own != num_classes:
            raise UserError(f"knows {num_classes} classes, not {own}", key=f"guidance.{key}")
