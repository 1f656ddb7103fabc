"""Records of runs that never ran, written as runs write them, with numbers that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from fmlab.records import RunLayout, new_run
from fmlab.records.measurements import Row

MEASUREMENT: dict[str, Any] = {
    "samples": 1000,
    "reference": {"data": "Digits", "split": "train", "size": 1437, "hash": "b" * 64},
    "features": {"name": "domain", "weights": "d" * 64},
    "resize": "none",
    "uint8": "floor(clip(127.5 x + 128, 0, 255))",
    "estimators": {"fid_domain": "unbiased covariances, v1", "kid_domain": "unbiased, all pairs, v1"},
}
SETTING: dict[str, Any] = {"field": "network", "solver": "Euler()", "grid": "UniformGrid()", "steps": 20}


def config(path: str, seed: int, **more: Any) -> dict[str, Any]:
    """A resolved configuration, as the command writes it; `more` are arguments of the network."""
    network = {"shape": [1, 8, 8], "num_classes": 10, "patch_size": 2, "width": 128, "depth": 4, **more}
    return {
        "seed_everything": seed,
        "run": {"name": "made"},
        "wandb": {"mode": "disabled"},
        "trainer": {"max_steps": 1000, "precision": "32-true", "accelerator": "cpu", "gradient_clip_val": 1.0},
        "model": {
            "class_path": "fmlab.training.FlowMatching",
            "init_args": {
                "network": {"class_path": "fmlab.networks.DiT", "init_args": network},
                "path": {"class_path": f"fmlab.paths.{path}"},
                "prediction": "velocity",
                "time_sampler": {"class_path": "fmlab.objectives.LogitNormal", "init_args": {"mean": 0.0, "std": 1.0}},
                "label_dropout": 0.1,
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001, "weight_decay": 0.0}},
                "seed": seed,
            },
        },
        "data": {"class_path": "fmlab.data.Digits", "init_args": {"global_batch_size": 64, "seed": seed}},
        "ema": {"decay": 0.999},
        "samples": {"guidance_scales": [2.0], "columns": 2, "solver": {"class_path": "fmlab.solvers.Heun"}, "steps": 5},
        "fid": {"num_samples": 1000, "guidance_scale": 2.0, "steps": 20},
        "checkpoint": {"every_n_steps": 500},
        "throughput": {},
    }


def write_run(
    folder: Path,
    final: float,
    *,
    path: str = "CondOT",
    seed: int = 0,
    experiment: str = "made",
    run_id: str | None = None,
    state: str = "done",
    measurement: dict[str, Any] | None = MEASUREMENT,
    validations: int = 5,
    reports: int = 20,
    nfe: Sequence[int] = (),
    grid: bool = False,
    configuration: dict[str, Any] | None = None,
) -> RunLayout:
    """A run whose `val/fid_domain` falls to `final`, and is lower by 0.01 at the last validation but one."""
    beside = folder / experiment
    number = len(list(beside.iterdir())) if beside.is_dir() else 0
    layout = new_run(folder, experiment, run_id or f"20261126-000000-{number:04x}")  # in the order of their making
    layout.config.write_text(yaml.safe_dump(configuration or config(path, seed), sort_keys=False))
    versions, git = {"python": "3.11", "fmlab": "0.1.0", "torch": "2.14.1"}, {"fmlab": {"commit": "a" * 40}}
    meta = {
        "created": f"2026-11-26T00:00:{seed % 60:02}",
        "seed": seed,
        "host": "here",
        "versions": versions,
        "git": git,
    }
    layout.meta.write_text(json.dumps({**meta, "network": {"parameters": 800_000, "flops": 25_000_000}}))
    status = {"state": state, "step": 1000, "error": "ValueError: broken" if state == "failed" else None}
    layout.status.write_text(json.dumps(status))
    if measurement is not None:
        record = {"measurement": measurement, "setting": SETTING}
        (layout.root / "measurement.json").write_text(json.dumps(record))
    _write_metrics(layout, final, seed, validations, reports)
    if nfe:
        _write_evaluation(layout, final, nfe)
    if grid:
        pixels = np.random.default_rng(seed).integers(0, 255, (82, 82, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(layout.samples / "step_0001000_w2.png")
    return layout


def _write_metrics(layout: RunLayout, final: float, seed: int, validations: int, reports: int) -> None:
    trained = ["train/loss", "train/lr", "train/grad_norm", *(f"train/loss_t_bin_{index}" for index in range(10))]
    performed = ["perf/images_per_second", "perf/milliseconds_per_step", "perf/memory_gib"]
    validated = ["val/loss", "val/fid_domain", "val/kid_domain"]
    rows = {}
    for index in range(1, reports + 1):
        values = [repr(1 / index + 1e-3 * seed)] * len(trained) + ["900.0", "70.0", "1.25"]
        rows[1000 * index // reports - 1] = [*values, "", "", ""]
    for index in range(1, validations + 1):
        step = 1000 * index // validations - 1
        fid = final + (validations - index) * 1.0 - (0.0 if index != validations - 1 else 1.01)
        cells = rows.get(step, [""] * (len(trained) + len(performed) + 3))
        rows[step] = [*cells[:-3], repr(1.0 / index), repr(fid), repr(fid / 10)]
    lines = [",".join([str(step), *values]) for step, values in sorted(rows.items())]
    layout.metrics.write_text("\n".join([",".join(["step", *trained, *performed, *validated]), *lines]) + "\n")


def _write_evaluation(layout: RunLayout, final: float, nfe: Sequence[int]) -> None:
    folder = layout.root / "evaluations" / "fid"
    folder.mkdir(parents=True)
    rows = [
        Row(
            f"{steps}",
            MEASUREMENT,
            {**SETTING, "steps": steps, "nfe": float(steps), "guidance_scale": 2.0},
            {"fid_domain": final + 10 / steps},
        )
        for steps in nfe
    ]
    (folder / "rows.jsonl").write_text("".join(row.line() + "\n" for row in rows))
