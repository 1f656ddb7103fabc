"""From a run to one file that needs neither the run's folder nor its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fmlab.inference.card import model_card
from fmlab.inference.exported import Exported, check_target, write_exported
from fmlab.inference.load import Weights, load_module
from fmlab.records import RunLayout, atomic_write_text, read_meta, read_metrics
from fmlab.records.bounded import read_json_object, read_yaml_mapping

_ONLY_TRAINING = ("optimizer", "lr_scheduler")
"""Arguments of a model that play no part in what it is."""

_NOT_THE_MODEL = ("run", "wandb")
"""Sections of a configuration that say where a run's record goes."""


def export_run(
    layout: RunLayout,
    file: Path,
    checkpoint: str = "best",
    weights: Weights = "averaged",
    ema_std: float | None = None,
    trust: bool = False,
    overwrite: bool = False,
) -> Path:
    """Writes a run's weights and its record to a file, and a model card beside it.

    Args:
        layout: The run.
        file: Where to, called .safetensors.
        checkpoint: `best`, `last` or a file; a run that has no best one gives its last.
        weights: The averaged weights (the first decay) or the trained ones as they are.
        ema_std: The width of a power-function average to use instead.
        trust: Whether to import code that the run names outside of fmlab and torch.
        overwrite: Whether to replace a file, or a card, that is there already.

    Returns:
        The card's file.

    Raises:
        UserError: If the run or the place cannot be used.
    """
    check_target(file, overwrite)
    loaded = load_module(layout, checkpoint, weights, ema_std, trust)
    scores = _scores(layout, loaded.origin.step) if loaded.validated else {}
    measured = _measured(layout) if scores else {}
    config = read_yaml_mapping(layout.config)
    model = config["model"]
    arguments = {name: value for name, value in model["init_args"].items() if name not in _ONLY_TRAINING}
    record = Exported(
        name=layout.experiment,
        model={**model, "init_args": arguments},
        data=config["data"],
        shape=list(loaded.shape),
        num_classes=loaded.module.num_classes,
        prediction=arguments.get("prediction", "velocity"),
        path=repr(loaded.module.path),
        step=loaded.origin.step,
        weights=loaded.origin.weights,
        scores=scores,
        measurement=measured.get("measurement", {}),
        setting=measured.get("setting", {}),
        run=layout.id,
        config={name: section for name, section in config.items() if name not in _NOT_THE_MODEL},
        versions=read_meta(layout).get("versions", {}),
        class_names=list(loaded.class_names) if loaded.class_names else None,
    )
    write_exported(file, loaded.module.network, record)
    card = file.with_suffix(".md")
    atomic_write_text(card, model_card(record, file))
    return card


def _scores(layout: RunLayout, step: int) -> dict[str, float]:
    """The validation's numbers of an optimizer step."""
    rows = read_metrics(layout.metrics) if layout.metrics.is_file() else []
    scores: dict[str, float] = {}
    for row in rows:
        if row["step"] == step - 1:  # rows carry the index of their step
            scores |= {name: value for name, value in row.items() if name.startswith("val/")}
    return scores


def _measured(layout: RunLayout) -> dict[str, Any]:
    """How the run's validation measures."""
    file = layout.root / "measurement.json"
    return read_json_object(file)
