"""A trained run on digits and one on points, made once a process, and a cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmlab.records import RunLayout
from helpers.tiny_runs import arguments, fit_main, newest

LEARNS = ["--model.optimizer.lr=0.01", "--fid.seed=0", "--fid.guidance_scale=1"]
AVERAGES = ["--power_ema.snapshots=3", "--power_ema.stds=[0.1,0.2]"]
POINTS = ["--data.train_size=240", "--data.validation_size=60", "--data.global_batch_size=60", "--samples.points=20"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("WANDB_MODE", raising=False)


def trained(folder: Path, cache: Path, experiment: str, *extra: str) -> RunLayout:
    argv = arguments(folder, *LEARNS, *extra, experiment=experiment, steps=30, validate=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        assert fit_main([word for word in argv if experiment == "digits" or "heads" not in word]) == 0
    return newest(folder, experiment)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> RunLayout:
    """A network that has learned a little: its samples differ by seed, label and solver."""
    return trained(tmp_path_factory.mktemp("runs"), cache, "digits", "--floor.enabled=false", *AVERAGES)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> RunLayout:
    return trained(tmp_path_factory.mktemp("runs"), cache, "toy2d", *POINTS)


@pytest.fixture
def run(digits: RunLayout, tmp_path: Path) -> RunLayout:
    """The digits run with evaluations of the test's own."""
    return copied(digits, tmp_path)


@pytest.fixture
def toy_run(toy: RunLayout, tmp_path: Path) -> RunLayout:
    """The run on points, likewise."""
    return copied(toy, tmp_path)


def copied(layout: RunLayout, folder: Path) -> RunLayout:
    import shutil

    return RunLayout(Path(shutil.copytree(layout.root, folder / "runs" / layout.experiment / layout.id)))
