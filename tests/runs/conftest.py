"""A fixture that runs the command in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.tiny_runs import arguments, fit_main, newest

from fmlab.records import RunLayout


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunLayout]:
    """Runs `fmlab fit` in this process and returns the run's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*extra: str, experiment: str | Path = "digits", steps: int = 4, validate: int = 2) -> RunLayout:
        argv = arguments(tmp_path / "runs", *extra, experiment=experiment, steps=steps, validate=validate)
        assert fit_main(argv) == 0
        name = experiment if isinstance(experiment, str) else experiment.stem
        return newest(tmp_path / "runs", name)

    return run
