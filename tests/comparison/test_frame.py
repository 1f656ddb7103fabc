"""`fmlab.table`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.written_runs import write_run

import fmlab
from fmlab.errors import UserError


def test_a_row_a_run(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    for seed, path in enumerate(("CondOT", "VP")):
        write_run(tmp_path, 1.0 + seed, path=path, seed=seed)
    frame = fmlab.table(str(tmp_path / "made" / "*")).sort_values("seed")
    assert frame["model.path"].tolist() == ["CondOT", "VP"]
    assert frame["val/fid_domain"].tolist() == [1.0, 2.0]
    assert frame["val/fid_domain.best"].tolist() == pytest.approx([0.99, 1.99])
    assert frame["images"].tolist() == [64_000, 64_000]
    assert frame["model.network.width"].tolist() == [128, 128]
    assert frame["state"].tolist() == ["done", "done"]
    assert frame.columns.is_unique
    order = frame.columns.tolist()
    assert order.index("model.path") < order.index("val/fid_domain") < order.index("model.network.width")
    assert frame.groupby("model.path")["val/fid_domain"].mean().idxmin() == "CondOT"


def test_without_pandas_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        fmlab.table(str(tmp_path))


def test_importing_it_is_light() -> None:
    heavy = "{'torch', 'lightning', 'pandas', 'matplotlib', 'wandb', 'plotly'}"
    code = (
        f"import sys, fmlab, fmlab.comparison, fmlab.commands.compare; fmlab.table; print({heavy} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"
