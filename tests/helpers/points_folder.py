"""A small configuration of real parts, in a folder of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

POINTS = """\
# fmlab fit --config points.yaml
seed_everything: 3
trainer: {max_steps: 4, accelerator: cpu}
model:
  class_path: FlowMatching
  init_args:
    path: {class_path: VP, init_args: {beta_min: 0.2, beta_max: 12}}
    network: {class_path: MLP, init_args: {width: 16, depth: 1}}
    optimizer: {class_path: AdamW, init_args: {lr: 1e-3}}
    lr_scheduler: {class_path: WarmupCosine, init_args: {total_steps: "${trainer.max_steps}"}}
data:
  class_path: Toy2D
  init_args: {name: moons, train_size: 64, validation_size: 64, global_batch_size: 16}
ema: {decay: 0.9}
fid: {num_samples: 32, steps: 2}
"""


@pytest.fixture(autouse=True)
def _import_state() -> Iterator[None]:
    """What a test imports from its own folder is gone after it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with `points.yaml` in it."""
    (tmp_path / "points.yaml").write_text(POINTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path
