"""What flow matching and score matching share: drawing, conditioning, logging and the trained field."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.fields import Guidance, LearnedField, PathField, guided, output_of, run_network
from fmlab.objectives import (
    Coupling,
    Independent,
    Loss,
    Space,
    SquaredError,
    StepContext,
    TimeSampler,
    UniformWeight,
    Weight,
)
from fmlab.paths import (
    CondOT,
    EDMPreconditioning,
    GaussianPath,
    Interpolant,
    Output,
    PathPrediction,
    PathSample,
    ProbabilityPath,
    gaussian_path,
)
from fmlab.random import Purpose, keyed_generator
from fmlab.training.batches import Batch, unpack
from fmlab.training.network_module import NetworkModule
from fmlab.training.pairing import Generators, further_data, paired_source, warn_of_bias
from fmlab.training.sources import BatchSource, NoiseSource, SourceChoice, make_source


class GenerativeModule(NetworkModule):
    """Trains a network to predict along a probability path, with labels dropped for classifier-free guidance.

    All randomness of a step is keyed by (seed, optimizer step, shard), where shard = accumulation index x world size +
    rank: a resumed run repeats itself, and two processes draw what two accumulated batches draw.

    Args:
        network: `network(x, t, condition)` with x (B, *event), t (B,) and condition (B,) or None; same shape out as in.
        path: The probability path; CondOT if left out. With a source of its own, a Gaussian path means the
            `Interpolant` of its alpha and beta.
        prediction: What the network outputs: velocity, score, noise, data, velocity_and_score (two heads, stacked in
            dimension 1), or EDMPreconditioning.
        source: What stands at t = 0: a distribution, a data set, `batch` for what the batch brings with each data
            point, or standard normal noise if left out.
        time_sampler: Where training draws t; Uniform if left out.
        coupling: Which draw of the source goes with which data point; Independent if left out.
        weight: How much the error counts at each time; UniformWeight if left out.
        loss: What is made of an error; SquaredError if left out.
        num_classes: The number of labels; label `num_classes` means "no label". Left out, it is the data's.
        label_dropout: The probability with which each sample's label becomes "no label".
        optimizer: Makes the optimizer from the network's parameters; torch's AdamW if left out.
        lr_scheduler: Makes the learning-rate schedule, stepped every optimizer step; constant if left out.
        compile: Compile the network with torch.compile; checkpoints are the same with and without.
        seed: The seed of all randomness of training; left out, it is `seed_everything`.
    """

    def __init__(
        self,
        network: nn.Module,
        path: ProbabilityPath | None = None,
        prediction: Output | EDMPreconditioning = "velocity",
        source: SourceChoice = None,
        time_sampler: TimeSampler | None = None,
        coupling: Coupling | None = None,
        weight: Weight | None = None,
        loss: Loss | None = None,
        num_classes: int | None = None,
        label_dropout: float = 0.1,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0 <= label_dropout <= 1:
            raise UserError(f"a probability lies in [0, 1], got {label_dropout}", key="model.label_dropout")
        made, coupling, path = make_source(source), coupling or Independent(), path or CondOT()
        if isinstance(path, GaussianPath) and not isinstance(made, NoiseSource):
            path = Interpolant(path)
        if isinstance(path, GaussianPath) and not isinstance(coupling, Independent):
            path = path.with_dependent_pairs()
        super().__init__(network, path, time_sampler, num_classes, optimizer, lr_scheduler, compile, seed)
        self.prediction, self.source, self.coupling = prediction, made, coupling
        self.weight, self.loss = weight or UniformWeight(), loss or SquaredError()
        self.check_parts()
        self.label_dropout = label_dropout if num_classes is not None else 0.0

    @property
    def about(self) -> str:
        return f"{self.path!r}, {type(self).__name__} of {self.prediction}"

    @property
    @abstractmethod
    def spaces(self) -> tuple[Space, ...]:
        """In what the errors are measured: the keys of `errors`."""

    @abstractmethod
    def errors(self, prediction: PathPrediction, point: PathSample) -> dict[Space, Tensor]:
        """The error of a prediction in the module's own space, shaped like the data; of two heads, one each."""

    def check_parts(self) -> None:
        """Refuses parts that do not go together.

        Raises:
            UserError: If the path knows no such prediction, weight or time sampler.
        """
        t = torch.tensor([0.5])
        self.admissible(t)
        self.time_sampler.quantile(t, self.moment())
        for space in self.spaces:
            self.weight(t, self.path, space)
        if self.prediction == "velocity_and_score" and not (self.path.noise_scale(t) > 0).all():
            raise UserError(
                "this path adds no noise, so it has no score to learn",
                key="model.prediction",
                hint="use prediction: velocity, or an Interpolant with sigma > 0",
            )
        if isinstance(self.prediction, EDMPreconditioning):
            gaussian_path(self.path, "EDMPreconditioning")

    def admissible(self, t: Tensor) -> Tensor:
        """Times moved to where the network's output determines the error and its weight."""
        t = self.path.clip(t, output_of(self.prediction))
        for space in self.spaces:
            t = self.weight.clip(t, self.path, space)
        return t

    # What training draws ----------------------------------------------------------------------------------------------

    def drop_labels(self, condition: Tensor | None, generator: torch.Generator) -> Tensor | None:
        """Each sample's label becomes `num_classes`, "no label", with probability `label_dropout`."""
        if condition is None or self.num_classes is None:
            return None
        if self.label_dropout == 0:
            return condition
        dropped = torch.rand(len(condition), generator=generator, device=generator.device) < self.label_dropout
        return condition.masked_fill(dropped, self.num_classes)

    def prepared(self, batch: Batch, draw: Generators) -> Batch:
        """A training batch as the network is to see it: augmented, with labels dropped."""
        batch = super().prepared(batch, draw)
        return batch.replace(condition=self.drop_labels(batch.condition, draw(Purpose.LABEL_DROPOUT)))

    def losses(
        self, network: Callable[..., Tensor], batch: Batch, draw: Generators, moment: StepContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """Loss and time a sample, both (B,), for freshly drawn source and times.

        Args:
            network: The network to measure.
            batch: The data, with labels already dropped.
            draw: The generator for each purpose.
            moment: Where in training this is; None outside of training, where no process waits for another.
        """
        point = self.draw_point(batch, draw, moment)
        prediction = run_network(network, self.path, self.prediction, point.x, point.t, batch.condition)
        return self.measure(prediction, point), point.t

    def draw_point(self, batch: Batch, draw: Generators, moment: StepContext | None = None) -> PathSample:
        """A point of the path for each data point of a batch, for freshly drawn source and times.

        Args:
            batch: The data, with labels already dropped.
            draw: The generator for each purpose.
            moment: Where in training this is.
        """
        source = self.source.draw(batch.data, batch.source, draw(Purpose.NOISE))
        if type(self.coupling) is not Independent:
            training = moment is not None
            more = partial(self.further_pairs, training=training)
            source = paired_source(self.coupling, batch.replace(source=source), draw, more, together=training)
        t = self.admissible(self.time_sampler.sample(len(batch.data), draw(Purpose.TIME), moment or self.moment()))
        return self.path.draw(batch.data, source, t, self._bridge_noise(batch.data, draw))

    def further_pairs(self, count: int, generator: torch.Generator, training: bool) -> Batch:
        """Data of the training split, prepared like a batch of training or of validation, with draws of the source."""
        batch = further_data(getattr(self.trainer, "datamodule", None), count, generator)
        if training:
            batch = self.prepared(batch, lambda purpose: generator)
        elif self.num_classes is None:
            batch = batch.replace(condition=None)
        return batch.replace(source=self.source.draw(batch.data, batch.source, generator))

    def measure(self, prediction: PathPrediction, point: PathSample) -> Tensor:
        """The weighted loss of a prediction, of shape (B,)."""
        total: Tensor | None = None
        for space, error in self.errors(prediction, point).items():
            loss = self.loss(error)
            if not isinstance(self.weight, UniformWeight):
                loss = self.weight(point.t, self.path, space) * loss
            total = loss if total is None else total + loss
        assert total is not None
        return total

    def _bridge_noise(self, data: Tensor, draw: Generators) -> Tensor | None:
        if not self.path.needs_noise:
            return None
        return torch.randn(data.shape, generator=draw(Purpose.BRIDGE), device=data.device)

    # Lightning's hooks ------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        if isinstance(self.source, BatchSource):
            self.source.data = getattr(self.trainer, "datamodule", None)
        if stage == "fit":
            warn_of_bias(self.coupling, self.num_classes)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch = unpack(batch)
        index = batch_idx * self.trainer.world_size + self.global_rank

        def draw(purpose: Purpose) -> torch.Generator:
            return keyed_generator(self.seed, Purpose.VALIDATION, index, purpose, device=batch.data.device)

        if self.num_classes is None:
            batch = batch.replace(condition=None)
        losses, _ = self.losses(self.evaluation_network, batch, draw)
        self.log("val/loss", losses.mean(), on_epoch=True, sync_dist=True, prog_bar=True, batch_size=len(batch.data))

    # The trained field ------------------------------------------------------------------------------------------------

    def field(self, condition: Tensor | None = None, guidance_scale: float | Guidance = 1.0) -> PathField:
        """The trained field for one label a sample, guided; with the averaged weights where there are any.

        Args:
            condition: Labels of shape (B,), or None for the unconditional field.
            guidance_scale: w of (1 - w) u(x | null) + w u(x | y), or a `Guidance` that names no run.
        """
        return guided(LearnedField(self.evaluation_network, self.path, self.prediction, condition), guidance_scale)
