"""From a run to one file that needs neither the run's folder nor its configuration."""

from __future__ import annotations

from pathlib import Path

from fmlab.inference.card import model_card
from fmlab.inference.exported import Exported, check_target, write_exported
from fmlab.inference.load import Weights, load_module
from fmlab.records import RunLayout, atomic_write_text, read_meta, read_metrics
from fmlab.records.bounded import read_json_object, read_yaml_mapping


def export_run(
    layout: RunLayout,
    file: Path,
    checkpoint: str = "best",
    weights: Weights = "averaged",
    ema_std: float | None = None,
    trust: bool = False,
    overwrite: bool = False,
) -> Path:
    """Writes a run's weights, chosen as for `fmlab.load`, and its record to a .safetensors file, and a card beside it.

    With `overwrite` it replaces a file, or a card, that is there already.

    Returns:
        The card's file.

    Raises:
        UserError: If the run or the place cannot be used.
    """
    check_target(file, overwrite)
    loaded = load_module(layout, checkpoint, weights, ema_std, trust)
    scores = _scores(layout, loaded.origin.step) if loaded.validated else {}
    measurement = layout.measurement
    measured = read_json_object(measurement) if scores and measurement.is_file() else {}
    config = read_yaml_mapping(layout.config)
    model = config["model"]
    only_training = ("optimizer", "lr_scheduler")  # which play no part in what a model is
    arguments = {name: value for name, value in model["init_args"].items() if name not in only_training}
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
        config={name: section for name, section in config.items() if name not in ("run", "wandb")},
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
    of_step = [row for row in rows if row["step"] == step - 1]  # rows carry the index of their step
    return {name: value for row in of_step for name, value in row.items() if name.startswith("val/")}
