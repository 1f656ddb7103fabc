"""One sweep file of two tiny runs, and the configurations it must come to, however it is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fmlab.records import RunLayout
from helpers.tiny_runs import EXPERIMENTS, TINY

FAST = [word for word in TINY if "wandb" not in word]

# Two points of a grid, with a small number, a null, a boolean and a class name among their parameters.
PARAMETERS = """\
parameters:
  model.path: {values: [CondOT, VP]}
  model.optimizer.lr: {value: 1.0e-4}
  model.num_classes: {value: null}
  model.network.num_classes: {value: null}
  data.flip: {value: true}
"""
SAME = {"model.optimizer.lr": 0.0001, "model.num_classes": None, "model.network.num_classes": None, "data.flip": True}
EXPECTED = [{"model.path": "fmlab.paths.CondOT", **SAME}, {"model.path": "fmlab.paths.VP", **SAME}]


def write_pair(folder: Path, *flags: str) -> Path:
    """The file, `pair.yaml`."""
    flags = (*FAST, "--trainer.max_steps=4", "--trainer.val_check_interval=2", "--model.label_dropout=0", *flags)
    flags += ("--fid.guidance_scale=1", "--samples.guidance_scales=[1.0]", "--floor.enabled=false", "--run.name=pair")
    argv = ["${env}", "fmlab", "fit", "--config", str(EXPERIMENTS / "digits.yaml"), *flags, "${args}"]
    file = folder / "pair.yaml"
    head = "program: fmlab\nproject: fmlab\nmethod: grid\nmetric: {name: val/fid_domain, goal: minimize}\n"
    file.write_text(f"{head}{PARAMETERS}command: {json.dumps(argv)}\n")
    return file


def assert_expected(runs: Sequence[RunLayout]) -> None:
    """The resolved configurations are the hand-written ones, types included."""
    configs = [yaml.safe_load(run.config.read_text()) for run in runs]
    points = [{key: at(config, key) for key in EXPECTED[0]} for config in configs]
    assert points == EXPECTED
    kinds = [[type(value) for value in point.values()] for point in points]
    assert kinds == [[str, float, type(None), type(None), bool]] * 2


def at(config: Any, key: str) -> Any:
    """The value at a dotted key, the words `init_args` left out."""
    for name in key.split("."):
        config = config["init_args"] if name not in config and "init_args" in config else config
        config = config[name]
    return config["class_path"] if isinstance(config, dict) and "class_path" in config else config
