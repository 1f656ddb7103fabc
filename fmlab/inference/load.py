"""From a run's record, or an exported file, to the trained model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fmlab.config.trust import check_names, check_trusted
from fmlab.errors import UserError
from fmlab.fields.exact import PosteriorMean
from fmlab.inference.exported import check_importable, is_exported, read_exported
from fmlab.inference.trained import Trained
from fmlab.records import RunLayout, find_run, read_meta


def load(
    run: str | os.PathLike[str],
    checkpoint: str = "best",
    weights: Literal["averaged", "raw"] = "averaged",
    device: str | torch.device | None = None,
    ema_std: float | None = None,
    trust: bool = False,
) -> Trained:
    """The trained field of a run, or of a file that `fmlab export` or `fmlab import` made.

    Args:
        run: The run's folder, its id, or an experiment's name (its newest run); or an exported `.safetensors` file,
            which holds one set of weights and leaves nothing to choose.
        checkpoint: `best`, `last` or a file; a run that has no best one gives its last.
        weights: The averaged weights (the first decay) or the trained ones as they are.
        device: Where to compute; a GPU if there is one.
        ema_std: The width of a power-function average to use instead, of a run trained with `power_ema`.
        trust: Whether to import code that the run names outside of fmlab, torch, lightning, timm and diffusers.

    Raises:
        UserError: If there is no such run, file or checkpoint, it cannot be read, or it names code not to be trusted.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if is_exported(run):
        if checkpoint != "best" or weights != "averaged" or ema_std is not None:
            cause = "an exported file holds one set of weights: leave out checkpoint, weights and ema_std"
            raise UserError(cause, key=os.fspath(run))
        return _load_exported(Path(run), where, trust)
    layout = find_run(os.fspath(run))
    module, data, state = load_module(layout, checkpoint, weights, ema_std, trust)
    if not hasattr(module, "prediction"):
        raise UserError(f"is a run of {type(module).__name__}, which generates nothing", key=str(layout.root))
    shape = tuple(getattr(module.network, "shape", None) or state["fmlab"]["shape"])
    decay = next(iter(averages_in(state)), None) if weights == "averaged" else None
    named = f"averaged, decay {decay}" if decay else "raw"
    if ema_std is not None:
        named = f"power-function average, std {ema_std:g}"
    what = (shape, state["global_step"], where)
    return _trained(
        layout.root,
        module,
        lambda: data,
        *what,
        checkpoint=layout.checkpoint(checkpoint),
        weights=named,
        trust=trust,
    )


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
    trust: bool,
) -> Trained:
    """The trained field of a module."""

    @cache
    def law() -> PosteriorMean:
        from fmlab.training.exact_law import exact_law

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
        unconditional=module.num_classes is None or module.label_dropout > 0,
        trust=trust,
    )


def _load_exported(file: Path, where: torch.device, trust: bool) -> Trained:
    """The trained field of an exported file; its data are looked for when they are needed."""
    from jsonargparse import ArgumentError

    from fmlab.training.sources import BatchSource

    tensors, record = read_exported(file)
    if not trust:
        check_names({"model": record.model}, str(file))
    folders = [str(file.resolve().parent), os.getcwd()] if trust else []  # where the user's own parts may lie
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    check_importable(record.model, "model", file)
    try:
        module = instantiate({"model": record.model}).model
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
        if not trust:
            check_names({"data": record.data}, str(file))
        check_importable(record.data, "data", file)
        return instantiate({"data": record.data}).data

    if isinstance(module.source, BatchSource):
        module.source.data = data()
    what = (tuple(record.shape), record.step or 0, where)
    return _trained(file.with_suffix(""), module, data, *what, checkpoint=file, weights=record.weights, trust=trust)


def load_module(
    layout: RunLayout,
    checkpoint: str = "best",
    weights: Literal["averaged", "raw"] = "averaged",
    ema_std: float | None = None,
    trust: bool = False,
) -> tuple[Any, Any, dict[str, Any]]:
    """A run's LightningModule with the chosen weights, its data module, and the checkpoint's contents.

    Args:
        layout: The run.
        checkpoint: `best`, `last` or a file.
        weights: The averaged weights (the first decay) or the trained ones as they are.
        ema_std: The width of a power-function average to use instead.
        trust: Whether to import code of somebody's own.

    Raises:
        UserError: If there is no such checkpoint, or it cannot be read, or these weights cannot be made.
    """
    file = layout.checkpoint(checkpoint)
    if weights not in ("averaged", "raw"):
        raise UserError(f"no weights are called {weights!r}", key="weights", hint="averaged or raw")
    module, data = _parts(layout, trust)
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
    from fmlab.training.power_ema import reconstruct

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


def _parts(layout: RunLayout, trust: bool) -> tuple[Any, Any]:
    """The run's LightningModule and its data module, made from its record alone."""
    import yaml

    from fmlab.training.sources import BatchSource

    if trust:
        sys.path.extend(folder for folder in read_meta(layout).get("import_folders", []) if folder not in sys.path)
    else:
        check_trusted([layout.config])
    config = yaml.safe_load(layout.config.read_text())
    made = instantiate({name: config[name] for name in ("model", "data")})
    if isinstance(getattr(made.model, "source", None), BatchSource):
        made.model.source.data = made.data
    return made.model, made.data


def instantiate(sections: dict[str, Any]) -> Any:
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
