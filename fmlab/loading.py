"""A trained run as an object: its field, ready to sample, without the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.exchange.exported import check_importable, is_exported, read_exported
from fmlab.fields import ExactField, Guidance, LearnedField, PathField, Sampling, Start, gaussian_start
from fmlab.fields.exact import PosteriorMean
from fmlab.guides import Guides
from fmlab.paths import EDMPreconditioning, GaussianPath, Output, ProbabilityPath, gaussian_path
from fmlab.records import RunLayout, find_run, read_meta
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
    ) -> None:
        self.start, self.law = start, law
        self.data, self.checkpoint, self.weights = data, checkpoint, weights
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
        """
        chosen = self.choose_labels(n, labels, self.guides.num_classes(guidance_scale))
        n = len(chosen) if chosen is not None else (n or 64)
        sampling = Sampling(solver or Heun(), steps, grid or UniformGrid(), path)
        batches = sampling.batches(
            lambda condition: self.field(condition, guidance_scale),
            range(seed, seed + n),
            self.shape,
            chosen,
            batch_size=batch_size,
            device=self.device,
            start=self.start,
        )
        return torch.cat([batch.cpu() for batch in batches])

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


def load(
    run: str | os.PathLike[str],
    checkpoint: str = "best",
    weights: Literal["averaged", "raw"] = "averaged",
    device: str | torch.device | None = None,
    ema_std: float | None = None,
) -> Trained:
    """The trained field of a run, or of a file that `fmlab export` or `fmlab import` made.

    Args:
        run: The run's folder, its id, or an experiment's name (its newest run); or an exported `.safetensors` file,
            which holds one set of weights and leaves nothing to choose.
        checkpoint: `best`, `last` or a file; a run that has no best one gives its last.
        weights: The averaged weights (the first decay) or the trained ones as they are.
        device: Where to compute; a GPU if there is one.
        ema_std: The width of a power-function average to use instead, of a run trained with `power_ema`.

    Raises:
        UserError: If there is no such run, file or checkpoint, or it cannot be read.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if is_exported(run):
        if checkpoint != "best" or weights != "averaged" or ema_std is not None:
            cause = "an exported file holds one set of weights: leave out checkpoint, weights and ema_std"
            raise UserError(cause, key=os.fspath(run))
        return _load_exported(Path(run), where)
    layout = find_run(os.fspath(run))
    module, data, state = load_module(layout, checkpoint, weights, ema_std)
    if not hasattr(module, "prediction"):
        raise UserError(f"is a run of {type(module).__name__}, which generates nothing", key=str(layout.root))
    shape = tuple(getattr(module.network, "shape", None) or state["fmlab"]["shape"])
    decay = next(iter(averages_in(state)), None) if weights == "averaged" else None
    named = f"averaged, decay {decay}" if decay else "raw"
    if ema_std is not None:
        named = f"power-function average, std {ema_std:g}"
    what = (shape, state["global_step"], where)
    return _trained(layout.root, module, lambda: data, *what, checkpoint=layout.checkpoint(checkpoint), weights=named)


def _trained(
    root: Path,
    module: Any,
    data: Callable[[], Any],
    shape: tuple[int, ...],
    step: int,
    where: torch.device,
    *,
    checkpoint: Path,
    weights: str,
) -> Trained:
    """The trained field of a module."""

    @cache
    def law() -> PosteriorMean:
        from fmlab.modules import exact_law

        return exact_law(module, data(), "exact").to(where)

    what = (module.network, module.path, module.prediction, shape, module.num_classes)
    return Trained(
        root,
        *what,
        step=step,
        device=where,
        start=module.source.start,
        law=law,
        data=data,
        checkpoint=checkpoint,
        weights=weights,
    )


def _load_exported(file: Path, where: torch.device) -> Trained:
    """The trained field of an exported file; its data are looked for when they are needed."""
    from jsonargparse import ArgumentError

    from fmlab.modules.sources import BatchSource

    tensors, record = read_exported(file)
    folders = [str(file.resolve().parent), os.getcwd()]  # where the user's own parts may lie
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    check_importable(record.model, "model", file)
    try:
        module = _instantiate({"model": record.model}).model
        module.network.load_state_dict(tensors)
    except ArgumentError as error:  # from a version with other arguments
        cause = max(str(error).splitlines(), key=lambda line: len(line) - len(line.lstrip())).strip()
        raise UserError(f"its model cannot be made here: {cause}", key=str(file)) from error
    except RuntimeError as error:
        cause = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise UserError(f"its weights do not fit its network: {cause}", key=str(file)) from error

    def data() -> Any:
        if record.data is None:
            raise UserError("the data are not known", key=str(file))
        check_importable(record.data, "data", file)
        return _instantiate({"data": record.data}).data

    if isinstance(module.source, BatchSource):
        module.source.data = data()
    what = (tuple(record.shape), record.step or 0, where)
    return _trained(file.with_suffix(""), module, data, *what, checkpoint=file, weights=record.weights)


def load_module(
    layout: RunLayout,
    checkpoint: str = "best",
    weights: Literal["averaged", "raw"] = "averaged",
    ema_std: float | None = None,
) -> tuple[Any, Any, dict[str, Any]]:
    """A run's LightningModule with the chosen weights, its data module, and the checkpoint's contents.

    Args:
        layout: The run.
        checkpoint: `best`, `last` or a file.
        weights: The averaged weights (the first decay) or the trained ones as they are.
        ema_std: The width of a power-function average to use instead.

    Raises:
        UserError: If there is no such checkpoint, or it cannot be read, or these weights cannot be made.
    """
    file = layout.checkpoint(checkpoint)
    if weights not in ("averaged", "raw"):
        raise UserError(f"no weights are called {weights!r}", key="weights", hint="averaged or raw")
    module, data = _parts(layout)
    state = read_checkpoint(file)
    module.load_state_dict(state["state_dict"])
    averages = averages_in(state)
    if ema_std is not None:
        if weights == "raw":
            raise UserError("a width is asked for, and raw weights", key="ema.std", hint="leave one of them out")
        module.network.load_state_dict(_power_average(layout, state, ema_std), strict=False)  # the buffers stay
    elif weights == "averaged" and averages:
        module.network.load_state_dict(next(iter(averages.values())))
    return module, data, state


def averages_in(state: dict[str, Any]) -> dict[str, Any]:
    """The averaged weights of a checkpoint's contents, by their decay; the first is the one that is used."""
    return state["callbacks"].get("AveragedWeights", {}).get("averages", {})


def _power_average(layout: RunLayout, state: dict[str, Any], std: float) -> dict[str, Tensor]:
    """The power-function average of a width at a checkpoint's step."""
    from fmlab.power_ema import reconstruct

    kept = state["callbacks"].get("PowerAverages")
    if kept is None:
        hint = "train with power_ema: {} in the configuration"
        raise UserError("this run kept no power-function averages", key="ema.std", hint=hint)
    return reconstruct(layout.power_averages, kept, std)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A checkpoint's contents, nothing but tensors and plain values.

    Raises:
        UserError: If the file is not there, cut short or no checkpoint.
    """
    if not file.is_file():
        raise UserError("there is no such checkpoint", key=str(file))
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = "is it cut short? try --checkpoint last"
        raise UserError(f"cannot be read: {cause}", key=str(file), hint=hint) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise UserError("is no checkpoint of a run", key=str(file))
    return state


def _parts(layout: RunLayout) -> tuple[Any, Any]:
    """The run's LightningModule and its data module, made from its record alone."""
    import yaml

    from fmlab.modules.sources import BatchSource

    sys.path.extend(folder for folder in read_meta(layout).get("import_folders", []) if folder not in sys.path)
    config = yaml.safe_load(layout.config.read_text())
    made = _instantiate({name: config[name] for name in ("model", "data")})
    if isinstance(getattr(made.model, "source", None), BatchSource):
        made.model.source.data = made.data
    return made.model, made.data


def _instantiate(sections: dict[str, Any]) -> Any:
    """The objects of a configuration's model and data sections, whichever are there, by these names."""
    from jsonargparse import ArgumentParser
    from lightning.pytorch import LightningDataModule, LightningModule

    bases = {"model": LightningModule, "data": LightningDataModule}
    parser = ArgumentParser(exit_on_error=False)
    for name in sections:
        parser.add_subclass_arguments(bases[name], name, fail_untyped=False, required=True)
    if "model" in sections:
        sections["model"].setdefault("init_args", {})["compile"] = False
    return parser.instantiate_classes(parser.parse_object(sections))
