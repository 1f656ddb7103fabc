"""From a run's record, or an exported file, to the trained model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import torch

from fmlab.config.classes import extend_import_path
from fmlab.config.merge import ARGS
from fmlab.config.prepare import make_section
from fmlab.config.values import read_file
from fmlab.data.contract import check_classes
from fmlab.errors import UserError
from fmlab.fields import LearnedClassifier, PosteriorMean
from fmlab.inference.exported import is_exported, put_weights, read_exported
from fmlab.inference.guides import RunWeights
from fmlab.inference.trained import Origin, Trained, TrainedClassifier
from fmlab.records import RunLayout, find_run, read_meta
from fmlab.training.checkpoint_files import read_checkpoint
from fmlab.training.classifier import NoisyClassifier
from fmlab.training.exact_law import exact_law
from fmlab.training.power_averages import reconstruct
from fmlab.training.sources import BatchSource

Weights = Literal["averaged", "raw"]


def load(
    run: str | os.PathLike[str],
    checkpoint: str = "best",
    weights: Weights = "averaged",
    device: str | torch.device | None = None,
    ema_std: float | None = None,
    trust: bool = False,
) -> Trained:
    """The trained model of a run, or of a file that `fmlab export` or `fmlab import` made.

    Args:
        run: The run's folder, its id, or an experiment's name (its newest run); or an exported `.safetensors` file,
            which holds one set of weights and leaves nothing to choose.
        checkpoint: `best`, `last` or a file; a run that has no best one gives its last.
        weights: The averaged weights (the first decay) or the trained ones as they are.
        device: Where to compute; a GPU if there is one.
        ema_std: The width of a power-function average to use instead, of a run trained with `power_ema`.
        trust: Whether to import code that the run names outside of fmlab and torch.

    Raises:
        UserError: If there is no such run, file or checkpoint, it cannot be read, it generates nothing, or it names
            code not to be trusted.
    """
    model = _load_any(run, checkpoint, weights, choose_device(device), ema_std, trust)
    if not isinstance(model, Trained):
        raise UserError("is a run of NoisyClassifier, which generates nothing", key=os.fspath(run))
    return model


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device of that name; a GPU if there is one.

    Raises:
        UserError: If there is none of that name.
    """
    try:
        return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UserError(f"there is no device {device!r}", key="device", hint="cpu, cuda, cuda:1, mps") from error


@dataclass(frozen=True, eq=False)
class LoadedModule:
    """A LightningModule with the chosen weights, and what belongs to it.

    Attributes:
        module: The module.
        data: Returns its data module; raises a `UserError` where it is not known.
        shape: The shape of one sample.
        origin: Where the weights come from.
        validated: Whether they are the weights that the run's validation measures: its first average if it has any.
        class_names: The names of the labels, where the run recorded them.
    """

    module: Any
    data: Callable[[], Any]
    shape: tuple[int, ...]
    origin: Origin
    validated: bool = False
    class_names: Sequence[str] | None = None


def _load_any(
    run: str | os.PathLike[str],
    checkpoint: str,
    weights: Weights,
    device: torch.device,
    ema_std: float | None,
    trust: bool,
) -> Trained | TrainedClassifier:
    """What `load` gives, or the classifier of a classifier's run."""
    if not is_exported(run):
        loaded = load_module(find_run(os.fspath(run)), checkpoint, weights, ema_std, trust)
    elif checkpoint != "best" or weights != "averaged" or ema_std is not None:
        cause = "an exported file holds one set of weights: leave out checkpoint, weights and ema_std"
        raise UserError(cause, key=os.fspath(run))
    else:
        loaded = _load_exported(Path(run), trust)
    module = loaded.module
    if isinstance(module, NoisyClassifier):
        assert module.num_classes is not None
        network = module.network.to(device).eval().requires_grad_(False)
        return TrainedClassifier(LearnedClassifier(network, module.path), module.path, loaded.shape, module.num_classes)
    if not hasattr(module, "prediction"):
        cause = f"is a run of {type(module).__name__}, which generates nothing"
        raise UserError(cause, key=str(loaded.origin.run))

    @cache
    def law() -> PosteriorMean:
        return exact_law(module, loaded.data(), "exact").to(device)

    def open_guide(name: str) -> Trained | TrainedClassifier:
        choice = RunWeights.parse(name)
        return _load_any(choice.run, choice.checkpoint, choice.weights, device, None, trust)

    return Trained(
        network=module.network,
        path=module.path,
        prediction=module.prediction,
        shape=loaded.shape,
        num_classes=module.num_classes,
        class_names=loaded.class_names,
        condition_dim=module.condition_dim,
        unconditional=not module.is_conditional or module.label_dropout > 0,
        device=device,
        start=module.source.start,
        origin=loaded.origin,
        law=law,
        data=loaded.data,
        open_guide=open_guide,
    )


def load_module(
    layout: RunLayout,
    checkpoint: str = "best",
    weights: Weights = "averaged",
    ema_std: float | None = None,
    trust: bool = False,
) -> LoadedModule:
    """A run's LightningModule with the chosen weights, made from the run's record alone; see `load`.

    Raises:
        UserError: If there is no such checkpoint, or it cannot be read, or these weights cannot be made.
    """
    file = layout.checkpoint(checkpoint)
    if weights not in ("averaged", "raw"):
        raise UserError(f"no weights are called {weights!r}", key="weights", hint="averaged or raw")
    if ema_std is not None and weights == "raw":
        raise UserError("a width is asked for, and raw weights", key="ema.std", hint="leave one of them out")
    if trust:
        extend_import_path(read_meta(layout).get("import_folders", []))
    config = read_file(layout.config)
    module = make_section("model", _uncompiled(config.get("model")), trust)
    facts = read_meta(layout).get("data") or {}

    @cache
    def data() -> Any:
        built = make_section("data", config.get("data"), trust)
        check_classes(facts, built)
        return built

    if isinstance(getattr(module, "source", None), BatchSource):
        module.source.data = data()
    state = read_checkpoint(file)
    module.load_state_dict(state["state_dict"])
    description, validated = _use_weights(module.network, layout, state, weights, ema_std)
    shape = tuple(getattr(module.network, "shape", None) or state["fmlab"]["shape"])
    origin = Origin(layout.root, file, description, state["global_step"])
    return LoadedModule(module, data, shape, origin, validated, facts.get("class_names"))


def _use_weights(
    network: Any, layout: RunLayout, state: dict[str, Any], weights: Weights, ema_std: float | None
) -> tuple[str, bool]:
    """Puts the averaged weights in place of the raw ones where they are asked for.

    Returns:
        Which weights these are, and whether the run's validation measures them.
    """
    callbacks = state["callbacks"]
    if ema_std is not None:
        averages = callbacks.get("PowerAverages")
        if averages is None:
            hint = "train with power_ema: {} in the configuration"
            raise UserError("this run kept no power-function averages", key="ema.std", hint=hint)
        network.load_state_dict(reconstruct(layout.power_averages, averages, ema_std), strict=False)  # no buffers
        return f"power-function average, std {ema_std:g}", False
    averages = callbacks.get("AveragedWeights", {}).get("averages", {})
    if weights == "raw" or not averages:
        return "raw", not averages
    decay, average = next(iter(averages.items()))
    network.load_state_dict(average)
    return f"averaged, decay {decay}", True


def _load_exported(file: Path, trust: bool) -> LoadedModule:
    """The module of an exported file; its data are looked for when they are needed."""
    tensors, record = read_exported(file)
    if trust:
        extend_import_path([str(file.resolve().parent), os.getcwd()])  # where the user's own parts may lie

    def make(name: str, section: Any) -> Any:
        if section is None:
            raise UserError(f"the {name} are not known", key=str(file))
        try:
            return make_section(name, section, trust)
        except UserError as error:
            key = f"{file}: {error.key}" if error.key else str(file)
            raise UserError(error.message, key=key, hint=error.hint) from error

    module = make("model", _uncompiled(record.model))
    put_weights(module.network, tensors, "its weights do not fit its network", key=str(file))
    data = cache(partial(make, "data", record.data))
    if isinstance(module.source, BatchSource):
        module.source.data = data()
    origin = Origin(file.with_suffix(""), file, record.weights, record.step or 0)
    return LoadedModule(module, data, tuple(record.shape), origin, class_names=record.class_names)


def _uncompiled(section: Any) -> Any:
    """The model's section of a record, for a network that is not compiled."""
    if not isinstance(section, dict) or not isinstance(section.get(ARGS) or {}, dict):
        return section  # which is refused where it is read
    return {**section, ARGS: {**(section.get(ARGS) or {}), "compile": False}}
