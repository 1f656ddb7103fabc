"""A trained model as an object: its field, ready to sample, without the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.fields import (
    ExactField,
    Generated,
    Guidance,
    LearnedField,
    PathField,
    Sampling,
    Start,
    collect,
    gaussian_start,
    generate,
)
from fmlab.fields.exact import PosteriorMean
from fmlab.inference.guides import Guides
from fmlab.paths import EDMPreconditioning, GaussianPath, Output, ProbabilityPath, gaussian_path
from fmlab.solvers import Grid, Heun, Solver, UniformGrid


class Trained:
    """The trained field of a run.

    Attributes:
        run: The run's folder; of an exported file, the folder of its name beside it, which need not exist.
        network: The network with the chosen weights, in evaluation mode.
        path: The path it was trained on.
        prediction: What it outputs.
        shape: The shape of one sample.
        num_classes: The number of labels, or None.
        step: The optimizer step of the checkpoint; 0 where it is not known.
        start: Gives the draw of the source for each seed.
        law: Gives the law of the run's training data, where it is known.
        data: Gives the run's data module, where it is known.
        checkpoint: The file that the weights come from.
        weights: Which weights they are: `averaged, decay 0.999` or `raw`.
        unconditional: Whether the network was trained without labels too, which guidance by itself needs.
        trust: Whether runs that guidance names may import code of somebody's own.
    """

    def __init__(
        self,
        run: Path,
        network: nn.Module,
        path: ProbabilityPath,
        prediction: Output | EDMPreconditioning,
        shape: tuple[int, ...],
        num_classes: int | None,
        step: int,
        device: torch.device,
        start: Start = gaussian_start,
        law: Callable[[], PosteriorMean] | None = None,
        data: Callable[[], Any] | None = None,
        checkpoint: Path | None = None,
        weights: str = "raw",
        unconditional: bool = True,
        trust: bool = False,
    ) -> None:
        self.trust = trust
        self.start, self.law = start, law
        self.data, self.checkpoint, self.weights = data, checkpoint, weights
        self.unconditional = unconditional
        self.run, self.network, self.path, self.prediction = run, network.to(device).eval(), path, prediction
        self.shape, self.num_classes, self.step, self.device = shape, num_classes, step, device
        self.guides = Guides(self)

    def field(self, labels: Tensor | None = None, guidance_scale: float | Guidance = 1.0) -> PathField:
        """The field for one label a sample (None: unconditional), guided by (1 - w) u(null) + w u(label).

        Args:
            labels: Of shape (B,).
            guidance_scale: The scale w, or a `Guidance`; runs that it names are loaded once.
        """
        return self.guides.guided(LearnedField(self.network, self.path, self.prediction, labels), guidance_scale)

    def exact_field(self, labels: Tensor | None = None, guidance_scale: float | Guidance = 1.0) -> PathField:
        """The field that a perfect network would have learned from the run's training data, guided likewise.

        Its samples are training images, but for the solver's error.

        Raises:
            UserError: If it is not known: the data are not in memory, the source is not noise, ...
        """
        if self.law is None:
            raise UserError("the training data are not known", key="exact", hint="load the run by fmlab.load")
        law = self.law()
        field = ExactField(law, gaussian_path(self.path, "an exact field"), labels)
        return self.guides.guided(field, guidance_scale)

    def sample(
        self,
        n: int | None = None,
        labels: Sequence[int] | Tensor | None = None,
        *,
        guidance_scale: float | Guidance = 1.0,
        solver: Solver | None = None,
        steps: int = 20,
        grid: Grid | None = None,
        path: GaussianPath | None = None,
        seed: int = 0,
        batch_size: int = 256,
        precision: str = "float32",
    ) -> Tensor:
        """Samples of shape (n, *shape), images in about [-1, 1], on the CPU; one seed makes one sample.

        Args:
            n: How many; as many as there are labels if left out, 64 if there are none either.
            labels: One a sample; a model with labels that is given none draws every class in turn.
            guidance_scale: The guidance scale w, or a `Guidance`.
            solver: The integrator; Heun if left out.
            steps: Solver steps.
            grid: Where the steps lie; UniformGrid if left out.
            path: The Gaussian path to sample along; the trained one if left out.
            seed: The seed of the first sample; the others follow.
            batch_size: Samples a solve.
            precision: One of `fmlab.fields.Precision`; `auto` is what is fastest on the device.
        """
        chosen = self.choose_labels(n, labels, self.guides.num_classes(guidance_scale))
        n = len(chosen) if chosen is not None else (n or 64)
        sampling = Sampling(solver or Heun(), steps, grid or UniformGrid(), path)
        seeds = range(seed, seed + n)
        batches = self.sample_batches(
            seeds, chosen, sampling, guidance_scale, batch_size=batch_size, precision=precision
        )
        return collect(batches).samples

    def sample_batches(
        self,
        seeds: Sequence[int],
        labels: Tensor | None,
        sampling: Sampling,
        guidance_scale: float | Guidance = 1.0,
        *,
        exact: bool = False,
        batch_size: int = 256,
        precision: str = "float32",
    ) -> Iterator[Generated]:
        """Samples batch by batch, in the order of their seeds, on the model's device.

        Args:
            seeds: One integer a sample.
            labels: One label a sample, or None for a model without labels.
            sampling: How the field is followed.
            guidance_scale: The guidance scale w, or a `Guidance`.
            exact: Follow the exact field of the training data, not the network.
            batch_size: Samples a solve.
            precision: One of `fmlab.fields.Precision`; each batch says what it was computed in.
        """
        make_field = self.exact_field if exact else self.field
        return generate(
            lambda condition: make_field(condition, guidance_scale),
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
        self, n: int | None, labels: Sequence[int] | Tensor | None, num_classes: int | None = None
    ) -> Tensor | None:
        """One label a sample, or None for a model without labels.

        Args:
            n: How many samples.
            labels: The labels to choose from, or as many.
            num_classes: How many labels there are, where a classifier brings them; the model's own if left out.

        Raises:
            UserError: If a label does not exist, or there is none to be had.
        """
        num_classes = num_classes or self.num_classes
        if num_classes is None:
            if labels is not None:
                raise UserError("this model was trained without labels", key="labels")
            return None
        given = torch.arange(num_classes) if labels is None else torch.as_tensor(labels, dtype=torch.int64)
        wrong = given[(given < 0) | (given >= num_classes)]
        if len(wrong):
            raise UserError(f"no label {wrong[0].item()}", key="labels", hint=f"labels are 0 to {num_classes - 1}")
        if n is None:
            return given if labels is not None else given.repeat_interleave(8)
        rounds = -(-n // len(given))
        return (given.repeat_interleave(rounds) if labels is None else given.repeat(rounds))[:n]
