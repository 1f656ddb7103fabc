"""A user's own network, path, solver and data, in a file beside the YAML; and the theory without Lightning."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fmlab
from fmlab.__main__ import main
from fmlab.errors import UserError
from fmlab.records import RunLayout, read_metrics

NETWORK = """
import torch
from torch import nn

class MyNet(nn.Module):
    def __init__(self, width: int = 32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, t, condition=None):
        return self.layers(torch.cat([x, t[:, None]], 1))
"""

PATH = """
from fmlab.paths import Polynomial

class Cubic(Polynomial):
    def __init__(self):
        super().__init__(degree=3)
"""

SOLVER = """
from fmlab.solvers import Solver

class Midpoint(Solver):
    order = 2.0

    def step(self, field, x, step, state):
        half = x + step.length / 2 * field(x, step.t).velocity
        return x + step.length * field(half, (step.t + step.t_next) / 2).velocity, state
"""

DATA = """
import torch
from torch.utils.data import DataLoader
from lightning.pytorch import LightningDataModule

class Ring(LightningDataModule):
    shape, num_classes, kind = (2,), None, "points"

    def points(self, n):
        angle = torch.linspace(0, 6.28, n)
        return torch.stack([angle.cos(), angle.sin()], 1)

    def train_dataloader(self):
        return DataLoader(self.points(64), batch_size=16)

    def val_dataloader(self):
        return DataLoader(self.points(32), batch_size=16)

    def reference_batches(self, batch_size, rank=0, world_size=1):
        yield self.points(64)

    def reference_hash(self):
        return "ring"
"""

CONFIG = """
seed_everything: 1
trainer: {max_steps: 4, val_check_interval: 2, precision: 32-true, accelerator: cpu}
model:
  class_path: FlowMatching
  init_args:
    path: my_path.Cubic
    network: {class_path: my_net.MyNet, init_args: {width: 16}}
data: my_data.Ring
ema: {decay: 0.9}
samples: {solver: my_solver.Midpoint, steps: 3, points: 30}
fid: {num_samples: 20, steps: 2}
checkpoint: {every_n_steps: 2}
wandb: {mode: disabled}
"""

OWN = ("my_net", "my_path", "my_solver", "my_data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("my_net", NETWORK), ("my_path", PATH), ("my_solver", SOLVER), ("my_data", DATA)):
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    forget_own_parts()
    yield
    forget_own_parts()


def forget_own_parts() -> None:
    for name in OWN:
        sys.modules.pop(name, None)


def test_own_parts_work_by_their_import_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", str(folder / "mine.yaml"), f"--run.dir={folder / 'runs'}"]) == 0
    advice = capsys.readouterr().out.splitlines()[-2:]
    assert all(line.endswith(" --trust") for line in advice), "the advice works as it is printed"
    (run,) = [RunLayout(path) for path in (folder / "runs" / "mine").iterdir()]
    assert any(row.get("val/w2") for row in read_metrics(run.metrics))
    monkeypatch.chdir("/")
    with pytest.raises(UserError, match=r"(?s)my_net\.MyNet.*--trust"):
        fmlab.load(run.root)
    trained = fmlab.load(run.root, trust=True)
    assert type(trained.network).__name__ == "MyNet"
    assert type(trained.path).__name__ == "Cubic"
    assert trained.generate(5, steps=2).shape == (5, 2)
    assert main(["fit", "--resume", str(run.root), "--trust", "--trainer.max_steps=6"]) == 0


def test_a_run_that_names_code_of_its_own_asks_for_trust(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether by its configuration or by a file planted in it, and whichever verb loads it, nothing is imported."""
    assert main(["fit", "--config", str(folder / "mine.yaml"), f"--run.dir={folder / 'runs'}"]) == 0
    (run,) = [RunLayout(path) for path in (folder / "runs" / "mine").iterdir()]
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    forget_own_parts()
    for name in OWN:
        (run.root / f"{name}.py").write_text("raise SystemExit('it was run')")
    for verb, *argv in (["sample"], ["export", "--to=a.safetensors"], ["validate"], ["diagnose"], ["evaluate"]):
        capsys.readouterr()
        assert main([verb, str(run.root), *argv]) == 2
        message = capsys.readouterr().err
        assert "my_" in message
        assert "--trust" in message
        assert len(message.splitlines()) <= 3
    assert main(["fit", "--resume", str(run.root)]) == 2
    assert "my_net" not in sys.modules


def test_five_lines_without_lightning() -> None:
    """Path, field and solver round any nn.Module; none of it imports Lightning or a logging service."""
    code = """
import sys
import torch
from fmlab.fields import LearnedField
from fmlab.paths import CondOT
from fmlab.solvers import Heun, UniformGrid

path = CondOT()
network = torch.nn.Linear(2, 2)
field = LearnedField(lambda x, t: network(x), path)
samples = Heun().solve(field, path.initial(torch.randn(8, 2)), UniformGrid()(20, path))
assert samples.shape == (8, 2)
import fmlab.distributions, fmlab.objectives
heavy = [name for name in ("lightning", "wandb", "torchmetrics") if name in sys.modules]
assert not heavy, heavy
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
