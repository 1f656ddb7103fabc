"""A trained model as an object: its field, ready to sample, without the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fmlab.errors import UserError, nearest
from fmlab.fields import (
    ConditionedField,
    ExactField,
    Generated,
    Guidance,
    LearnedClassifier,
    LearnedField,
    PathField,
    PosteriorMean,
    Sampling,
    Start,
    collect,
    gaussian_start,
    generate,
    guided,
)
from fmlab.paths import EDMPreconditioning, GaussianPath, Output, ProbabilityPath, gaussian_path
from fmlab.solvers import Grid, Heun, Solver, UniformGrid


@dataclass(frozen=True)
class Origin:
    """Where trained weights come from.

    Attributes:
        run: The run's folder; of an exported file, the folder of its name beside it, which need not exist.
        checkpoint: The file that holds the weights, if there is one.
        weights: Which weights they are: `averaged, decay 0.999`, `power-function average, std 0.1` or `raw`.
        step: The optimizer steps they were trained for; 0 where that is not known.
    """

    run: Path = Path()
    checkpoint: Path | None = None
    weights: str = "raw"
    step: int = 0


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A trained classifier of noisy points, which guides a trained model on the same path and of the same shape."""

    classifier: LearnedClassifier
    path: ProbabilityPath
    shape: tuple[int, ...]
    num_classes: int


def _unknown(what: str, key: str) -> Any:
    raise UserError(f"{what} not known", key=key, hint="load the run by fmlab.load")


@dataclass(eq=False)
class Trained:
    """A trained network and what is needed to sample from it.

    Attributes:
        network: The network with the chosen weights; it is moved to `device` and put in evaluation mode.
        path: The path it was trained on.
        prediction: What the network outputs.
        shape: The shape of one sample.
        num_classes: The number of labels, or None.
        class_names: Their names in order, where they are known.
        condition_dim: The length of conditions that are vectors, or None.
        unconditional: Whether the network was trained without labels too, which guidance by itself needs.
        device: Where to compute.
        start: Gives the source's sample for each seed.
        origin: The run, its checkpoint, and which weights they are.
        law: Returns the law of the training data; raises a `UserError` where it is not known.
        data: Returns the data module; raises a `UserError` where it is not known.
        open_guide: Loads the model that a guidance names as RUN, RUN@last, RUN@raw or RUN@FILE.
    """

    network: nn.Module
    path: ProbabilityPath
    prediction: Output | EDMPreconditioning
    shape: tuple[int, ...]
    num_classes: int | None = None
    class_names: Sequence[str] | None = None
    condition_dim: int | None = None
    unconditional: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    start: Start = gaussian_start
    origin: Origin = Origin()
    law: Callable[[], PosteriorMean] = lambda: _unknown("the training data are", "exact")
    data: Callable[[], Any] = lambda: _unknown("the data it was trained on are", "data")
    open_guide: Callable[[str], Trained | TrainedClassifier] | None = None

    def __post_init__(self) -> None:
        self.network = self.network.to(self.device).eval()
        self._guides: dict[tuple[str, str], Any] = {}  # what guidance has named so far

    def field(self, labels: Tensor | None = None, guidance: float | Guidance = 1.0) -> PathField:
        """The learned field for one condition per sample (None: unconditional), guided by (1 - w) u(null) + w u(label).

        Args:
            labels: Of shape (B,), or vectors (B, condition_dim).
            guidance: The scale w, or a `Guidance`; each model that it names is loaded once.

        Raises:
            UserError: If the network cannot be guided so, or a model that the guidance names does not go with it.
        """
        guidance = Guidance.of(guidance)
        by_itself = guidance.classifier is not None or (guidance.weak is None and guidance.scale != 1)
        if by_itself and not self.unconditional:
            raise UserError(
                "the network has never been trained without a label (model.label_dropout was 0)",
                key="guidance.scale",
                hint="use guidance scale 1, or autoguidance with --guidance.weak",
            )
        return self._guided(LearnedField(self.network, self.path, self.prediction, labels), guidance)

    def exact_field(self, labels: Tensor | None = None, guidance: float | Guidance = 1.0) -> PathField:
        """The field that a perfect network would have learned from the training data, guided likewise.

        Its samples are training images, but for the solver's error.

        Raises:
            UserError: If it is not known: the data are not in memory, the source is not noise, ...
        """
        exact = ExactField(self.law(), gaussian_path(self.path, "an exact field"), labels)
        return self._guided(exact, Guidance.of(guidance))

    def generate(
        self,
        num_samples: int | None = None,
        labels: Sequence[int] | Tensor | None = None,
        *,
        guidance: float | Guidance = 1.0,
        solver: Solver | None = None,
        steps: int = 20,
        grid: Grid | None = None,
        path: GaussianPath | None = None,
        seed: int = 0,
        batch_size: int = 256,
        precision: str = "float32",
    ) -> Tensor:
        """Samples of shape (num_samples, *shape), images in about [-1, 1], on the CPU; one seed makes one sample.

        Args:
            num_samples: How many; as many as there are labels if left out, 64 if there are none either.
            labels: One per sample, or one vector per sample, (B, condition_dim); a model with labels that is given none
                generates every class in turn, one with vectors its null condition.
            guidance: The guidance scale w, or a `Guidance`.
            solver: The integrator; Heun if left out.
            steps: Solver steps.
            grid: Where the steps lie; UniformGrid if left out.
            path: The Gaussian path to sample along; the trained one if left out.
            seed: The seed of the first sample; the others follow.
            batch_size: Samples per solve.
            precision: One of `fmlab.fields.Precision`; `auto` is what is fastest on the device.
        """
        chosen = self.choose_labels(num_samples, labels, self.count_classes(guidance))
        count = len(chosen) if chosen is not None else (num_samples or 64)
        sampling = Sampling(solver or Heun(), steps, grid or UniformGrid(), path)
        batches = self.generate_batches(
            range(seed, seed + count), chosen, sampling, guidance, batch_size=batch_size, precision=precision
        )
        return collect(batches).samples

    def generate_batches(
        self,
        seeds: Sequence[int],
        labels: Tensor | None,
        sampling: Sampling,
        guidance: float | Guidance = 1.0,
        *,
        exact: bool = False,
        batch_size: int = 256,
        precision: str = "float32",
    ) -> Iterator[Generated]:
        """Samples batch by batch, in the order of their seeds, on the model's device; arguments as in `generate`.

        Args:
            seeds: One integer per sample.
            labels: One label per sample, or None for a model without labels.
            sampling: How the field is followed.
            guidance: The guidance scale w, or a `Guidance`.
            exact: Follow the exact field of the training data, not the network.
            batch_size: Samples per solve.
            precision: Each batch says what it was computed in.
        """
        make_field = self.exact_field if exact else self.field
        return generate(
            lambda condition: make_field(condition, guidance),
            sampling,
            seeds,
            self.shape,
            labels,
            batch_size=batch_size,
            device=self.device,
            start=self.start,
            precision=precision,
        )

    def choose_labels(
        self, num_samples: int | None, labels: Sequence[int | str] | Tensor | None, num_classes: int | None = None
    ) -> Tensor | None:
        """One label per sample, or None for a model without labels; for vector conditions, one vector per sample.

        Args:
            num_samples: How many samples.
            labels: The labels to choose from, or as many; names of classes stand for their labels.
            num_classes: How many labels there are, where a classifier brings them; the model's own if left out.

        Raises:
            UserError: If a label does not exist, or there is none to be had.
        """
        if not isinstance(labels, Tensor):
            labels = self.number_labels(labels)
        if self.condition_dim is not None:
            if labels is None:
                return None
            vectors = torch.as_tensor(labels, dtype=torch.float32)
            if vectors.shape[1:] != (self.condition_dim,):
                hint = f"one vector of {self.condition_dim} numbers per sample"
                raise UserError(f"conditions of shape {tuple(vectors.shape)}", key="labels", hint=hint)
            return vectors[torch.arange(num_samples or len(vectors)) % len(vectors)]
        num_classes = num_classes or self.num_classes
        if num_classes is None:
            if labels is not None:
                raise UserError("this model was trained without labels", key="labels")
            return None
        choices = torch.arange(num_classes) if labels is None else torch.as_tensor(labels, dtype=torch.int64)
        wrong = choices[(choices < 0) | (choices >= num_classes)]
        if len(wrong):
            raise UserError(f"no label {wrong[0].item()}", key="labels", hint=f"labels are 0 to {num_classes - 1}")
        if labels is not None:
            return choices[torch.arange(num_samples or len(choices)) % len(choices)]
        count = num_samples or 8 * num_classes
        return choices.repeat_interleave(-(-count // num_classes))[:count]

    def number_labels(self, labels: Sequence[int | str] | None) -> list[int] | None:
        """The labels with the names of classes as numbers."""
        if labels is None:
            return None
        names = list(self.class_names or ())
        unknown = next((label for label in labels if isinstance(label, str) and label not in names), None)
        if unknown is not None:
            hint = nearest(str(unknown), names) if names else "the classes have no names here: write 3 or 0-9"
            raise UserError(f"no class {unknown!r}", key="labels", hint=hint)
        return [names.index(label) if isinstance(label, str) else int(label) for label in labels]

    def count_classes(self, guidance: float | Guidance = 1.0) -> int | None:
        """How many labels there are to choose from: those of the guiding classifier, or else the network's own."""
        classifier = self._guide(TrainedClassifier, "classifier", Guidance.of(guidance).classifier)
        return self.num_classes if classifier is None else classifier.num_classes

    def _guided(self, field: ConditionedField, guidance: Guidance) -> PathField:
        weak = self._guide(Trained, "weak", guidance.weak)
        classifier = self._guide(TrainedClassifier, "classifier", guidance.classifier)
        guide = None if weak is None else LearnedField(weak.network, weak.path, weak.prediction, field.condition)
        return guided(field, guidance, weak=guide, classifier=None if classifier is None else classifier.classifier)

    def _guide(self, kind: type, key: str, name: str | None) -> Any:
        """The model of a kind that the guidance names, which must go with this one; loaded once."""
        if name is None or self.open_guide is None:
            return None
        if (key, name) not in self._guides:
            guide = self.open_guide(name)
            problem = self._problem(guide, kind)
            if problem:
                raise UserError(problem, key=f"guidance.{key}")
            self._guides[key, name] = guide
        return self._guides[key, name]

    def _problem(self, guide: Trained | TrainedClassifier, kind: type) -> str | None:
        """Why a model cannot guide this one; None if it can."""
        if not isinstance(guide, kind):
            return "a NoisyClassifier generates nothing" if kind is Trained else "this is not a run of NoisyClassifier"
        if guide.shape != self.shape:
            return f"works on shape {guide.shape}, not on {self.shape}"
        if None not in (self.num_classes, guide.num_classes) and guide.num_classes != self.num_classes:
            return f"knows {guide.num_classes} classes, not {self.num_classes}"
        if kind is TrainedClassifier and repr(guide.path) != repr(self.path):
            return f"was trained on {guide.path!r}, and the model that it guides on {self.path!r}"
        return None
