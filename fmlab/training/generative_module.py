"""Flow matching and score matching, and what they share: drawing, conditioning, the loss and the trained field."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.fields import Guidance, LearnedField, PathField, guided, output_of, run_network
from fmlab.objectives import (
    Coupling,
    Independent,
    Loss,
    MinibatchOT,
    SinkhornOT,
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
from fmlab.random import Purpose
from fmlab.training.module import Batch, Generators, NetworkModule, unpack
from fmlab.training.optimisation import LRSchedulerFactory, OptimizerFactory, WeightDecayOn
from fmlab.training.pairing import further_data, paired_source
from fmlab.training.sources import BatchSource, NoiseSource, SourceChoice, make_source


class GenerativeModule(NetworkModule):
    """Trains a network to predict along a probability path, with conditions dropped for classifier-free guidance.

    A condition is a label, or a vector where the network states a `condition_dim`. With a source of its own, a Gaussian
    path means the `Interpolant` of its alpha and beta.

    Args:
        prediction: What the network outputs: velocity, score, noise, data, velocity_and_score (two heads, stacked in
            dimension 1), or EDMPreconditioning.
        source: What stands at t = 0: a distribution, a data set, `batch` for what the batch brings with each data
            point, or standard normal noise if left out.
        coupling: Which draw of the source goes with which data point; Independent if left out.
        weight: How much the error counts at each time; UniformWeight if left out.
        loss: What is made of an error; SquaredError if left out.
        label_dropout: The probability with which each sample's condition becomes the network's null condition.
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
        optimizer: OptimizerFactory = torch.optim.AdamW,
        lr_scheduler: LRSchedulerFactory | None = None,
        compile: bool = False,
        seed: int = 0,
        weight_decay_on: WeightDecayOn = "all",
    ) -> None:
        if not 0 <= label_dropout <= 1:
            raise UserError(f"a probability lies in [0, 1], got {label_dropout}", key="model.label_dropout")
        initial, coupling, path = make_source(source), coupling or Independent(), path or CondOT()
        if isinstance(path, GaussianPath) and not isinstance(initial, NoiseSource):
            path = Interpolant(path)
        if isinstance(path, GaussianPath) and not isinstance(coupling, Independent):
            path = path.with_dependent_pairs()
        super().__init__(
            network, path, time_sampler, num_classes, optimizer, lr_scheduler, compile, seed, weight_decay_on
        )
        self.prediction, self.source, self.coupling = prediction, initial, coupling
        self.weight, self.loss = weight or UniformWeight(), loss or SquaredError()
        self.check_parts()
        self.condition_dim: int | None = getattr(network, "condition_dim", None)
        self.label_dropout = label_dropout if self.is_conditional else 0.0

    @property
    def is_conditional(self) -> bool:
        """Whether the network is trained with conditions."""
        return self.num_classes is not None or self.condition_dim is not None

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
        self.time_sampler.quantile(t, StepContext(self.path))
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

    # The batch --------------------------------------------------------------------------------------------------------

    def drop_condition(self, condition: Tensor | None, generator: torch.Generator) -> Tensor | None:
        """Each sample's condition becomes the network's null with probability `label_dropout`."""
        if condition is None or not self.is_conditional:
            return None
        if self.label_dropout == 0:
            return condition
        dropped = torch.rand(len(condition), generator=generator, device=generator.device) < self.label_dropout
        if self.num_classes is not None:
            return condition.masked_fill(dropped, self.num_classes)
        null: Tensor = self.network.null_condition  # type: ignore[assignment]
        return torch.where(dropped[:, None], null, condition)

    def prepare_batch(self, batch: Batch, generators: Generators) -> Batch:
        """A training batch as the network is to see it: augmented, with conditions dropped."""
        batch = super().prepare_batch(batch, generators)
        return batch.replace(condition=self.drop_condition(batch.condition, generators(Purpose.LABEL_DROPOUT)))

    def further_pairs(self, count: int, generator: torch.Generator, training: bool) -> Batch:
        """Data of the training split, prepared like a batch of training or of validation, with draws of the source."""
        batch = further_data(getattr(self.trainer, "datamodule", None), count, generator)
        if training:
            batch = self.prepare_batch(batch, lambda purpose: generator)
        elif not self.is_conditional:
            batch = batch.replace(condition=None)
        return batch.replace(source=self.source.draw(batch.data, batch.source, generator))

    # The loss ---------------------------------------------------------------------------------------------------------

    def losses(
        self, network: Callable[..., Tensor], batch: Batch, generators: Generators, context: StepContext | None = None
    ) -> tuple[Tensor, Tensor]:
        point = self.draw_point(batch, generators, context)
        prediction = run_network(network, self.path, self.prediction, point.x, point.t, batch.condition)
        return self.measure(prediction, point), point.t

    def draw_point(self, batch: Batch, generators: Generators, context: StepContext | None = None) -> PathSample:
        """A point of the path for each data point of a batch, for freshly drawn source and times; as in `losses`."""
        source = self.source.draw(batch.data, batch.source, generators(Purpose.NOISE))
        if type(self.coupling) is not Independent:
            training = context is not None
            more = partial(self.further_pairs, training=training)
            condition = None if batch.condition is None else batch.condition.detach()  # the null of vectors is learned
            pairs = batch.replace(source=source, condition=condition)
            source = paired_source(self.coupling, pairs, generators, more, across_processes=training)
        t = self.time_sampler.sample(len(batch.data), generators(Purpose.TIME), context or StepContext(self.path))
        noise = None
        if self.path.needs_noise:
            noise = torch.randn(batch.data.shape, generator=generators(Purpose.BRIDGE), device=batch.data.device)
        return self.path.draw(batch.data, source, self.admissible(t), noise)

    def measure(self, prediction: PathPrediction, point: PathSample) -> Tensor:
        """The weighted loss of a prediction, of shape (B,)."""
        terms = []
        for space, error in self.errors(prediction, point).items():
            loss = self.loss(error)
            if not isinstance(self.weight, UniformWeight):
                loss = self.weight(point.t, self.path, space) * loss
            terms.append(loss)
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    # Lightning's hooks ------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        if isinstance(self.source, BatchSource):
            self.source.data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and self.is_conditional and isinstance(self.coupling, (MinibatchOT, SinkhornOT)):
            rank_zero_warn(
                f"{type(self.coupling).__name__} matches without regard to the labels, which biases what the model "
                "learns of each of them: model.coupling=ConditionalOT does not (Cheng and Schwing 2025)"
            )

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch = unpack(batch)
        generators = self.validation_generators(batch, batch_idx)
        if not self.is_conditional:
            batch = batch.replace(condition=None)
        losses, _ = self.losses(self.evaluation_network, batch, generators)
        self.log("val/loss", losses.mean(), on_epoch=True, sync_dist=True, prog_bar=True, batch_size=len(batch.data))

    def field(self, condition: Tensor | None = None, guidance_scale: float | Guidance = 1.0) -> PathField:
        """The trained field for one condition per sample, guided; with the averaged weights where there are any.

        Args:
            condition: Labels (B,) or vectors (B, D), or None for the unconditional field.
            guidance_scale: w of (1 - w) u(x | null) + w u(x | y), or a `Guidance` that names no run.
        """
        return guided(LearnedField(self.evaluation_network, self.path, self.prediction, condition), guidance_scale)


class FlowMatching(GenerativeModule):
    """Measures the error in the velocity: E |v(x_t, t) - dx_t/dt|^2 (Lipman et al. 2023, theorem 2).

    A network with two heads learns the score beside it, by the noise error E |noise_scale s(x_t, t) + eps|^2: the
    sum of both is the loss of [SF]2M (Tong et al. 2024, equation 10) with the score's weight that makes it finite.
    """

    @property
    def spaces(self) -> tuple[Space, ...]:
        return ("velocity", "noise") if self.prediction == "velocity_and_score" else ("velocity",)

    def errors(self, prediction: PathPrediction, point: PathSample) -> dict[Space, Tensor]:
        errors: dict[Space, Tensor] = {"velocity": prediction.velocity - point.velocity}
        if self.prediction == "velocity_and_score":
            assert point.noise is not None
            errors["noise"] = prediction.noise - point.noise
        return errors


class ScoreMatching(GenerativeModule):
    """Measures the error in the score, weighted by beta^2: E |eps_hat(x_t, t) - eps|^2 (Vincent 2011; Ho et al. 2020).

    With s = -eps / beta the weighted score error is the noise error, finite at t = 1. The path has to be Gaussian.
    """

    spaces = ("noise",)

    def check_parts(self) -> None:
        if not isinstance(self.path, GaussianPath) or self.prediction == "velocity_and_score":
            cause = f"{type(self.path).__name__} and {self.prediction}: score matching alone teaches no velocity"
            hint = "use FlowMatching with prediction: velocity_and_score"
            raise UserError(cause, key="model", hint=hint)
        super().check_parts()

    def admissible(self, t: Tensor) -> Tensor:
        t = super().admissible(t)
        from_velocity = output_of(self.prediction) == "velocity"
        return gaussian_path(self.path, "ScoreMatching").clip_for(t, wronskian=True) if from_velocity else t

    def errors(self, prediction: PathPrediction, point: PathSample) -> dict[Space, Tensor]:
        assert point.noise is not None
        return {"noise": prediction.noise - point.noise}
