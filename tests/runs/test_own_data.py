"""A data module of one's own: whatever breaks the contract is said in one line before a step is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_runs import arguments

from fmlab.__main__ import main
from fmlab.records import RunLayout

HEAD = """
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset

X = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
Y = torch.arange(64) % 4


class Data(LightningDataModule):
    shape = (1, 8, 8)
    num_classes = 4
    {stated}

    def train_dataloader(self):
        return DataLoader(TensorDataset({parts}), 16)

    def val_dataloader(self):
        return self.train_dataloader()
"""


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)

    def run(name: str, parts: str, stated: str = "", *more: str) -> tuple[int, str, str]:
        (tmp_path / f"{name}.py").write_text(HEAD.format(parts=parts, stated=stated))
        capsys.readouterr()
        off = [f"--{section}.enabled=false" for section in ("fid", "samples", "floor")]
        argv = ["fit", *arguments(tmp_path / "runs"), f"--data={name}.Data", *off, *more]
        code = main(argv)
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


@pytest.mark.parametrize(
    ("parts", "stated", "message"),
    [
        ("X, Y + 1", "", "has the labels 1 to 4, and those of 4 classes are 0 to 3"),
        ("X, torch.nn.functional.one_hot(Y, 4)", "", "are they one-hot?"),
        ("X, torch.nn.functional.one_hot(Y, 4).float()", "", "are they one-hot?"),
        ("X, Y.float()", "", "labels.long()"),
        ("X, Y[:, None]", "", "labels.squeeze(1)"),
        ("X, Y, Y", "", "a batch is a list of 3 parts"),
        ("X", "", "a batch of Data has none"),
        ("(X * 127.5 + 127.5).to(torch.uint8), Y", "", "are uint8, not float32"),
        ("X * 127.5 + 127.5, Y", "", "not from -1 to 1"),
        ("X.double(), Y", "", "x.float()"),
        ("X[:, :, :7], Y", "", "a batch of it has the shape (16, 1, 7, 8)"),
        ("X, torch.randn(64, 5)", "num_classes = None", "states neither num_classes nor condition_dim"),
        ("X, Y", "num_classes = None", "states neither num_classes nor condition_dim"),
        ("X, torch.randn(64, 5)", "num_classes = None; condition_dim = 3", "floats of shape (B, 3)"),
        ("X, Y", "shape = None", "model.network.shape: expected a list of int, got null"),
        ("X, Y", "num_classes = 'four'", 'model.network.num_classes: expected int or null, got "four"'),
        ("X, Y", "class_names = ['a']", "4 classes and 1 names"),
    ],
)
def test_what_breaks_the_contract_is_said_before_a_step(
    train: Callable[..., Any], tmp_path: Path, parts: str, stated: str, message: str
) -> None:
    name = f"own_{abs(hash((parts, stated)))}"
    code, _, error = train(name, parts, stated, "--checkpoint.every_n_steps=1")
    assert code == 2, error
    assert message in error
    assert len(error.splitlines()) <= 3
    assert not list((tmp_path / "runs").rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("parts", "stated"),
    [("X, Y", ""), ("X", "num_classes = None"), ("X, torch.randn(64, 5)", "num_classes = None; condition_dim = 5")],
)
def test_what_keeps_the_contract_is_trained(train: Callable[..., Any], parts: str, stated: str) -> None:
    code, output, error = train(f"fine_{abs(hash(parts))}", parts, stated)
    assert code == 0, error
    assert "data       Data, 1 x 8 x 8" in output


def test_metrics_say_at_the_start_what_they_need(train: Callable[..., Any]) -> None:
    code, _, error = train("bare", "X, Y", "", "--fid.enabled=true")
    assert code == 2
    assert "fid: needs of Data: kind, reference_batches, reference_hash, class_names, label_frequencies" in error


def test_a_run_remembers_its_data(tmp_path: Path, fit: Callable[..., RunLayout]) -> None:
    run = fit("--fid.enabled=false", "--samples.enabled=false", "--floor.enabled=false")
    facts = json.loads(run.meta.read_text())["data"]
    assert facts["class_names"] == list("0123456789")
    assert facts["train"]["size"] == sum(facts["train"]["counts"]) == 1437
    assert facts["validation"]["counts"] == [36] * 10
    assert len(facts["train"]["hash"]) == 64
