"""Runs as a pandas frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmlab.comparison.configs import SEED
from fmlab.comparison.groups import Member, compare
from fmlab.errors import UserError

if TYPE_CHECKING:
    import pandas


def table(runs: str | Path | Iterable[str | Path], runs_dir: str = "runs") -> pandas.DataFrame:
    """Returns one row for each run, named as `find_runs` reads them: its facts, what differs, metrics, costs, rest.

    Columns are named as on the command line (`model.path`) and in `metrics.csv` (`val/fid_domain`, the last value);
    beside each metric of which less or more is better stands its best value over training, as `val/fid_domain.best`.

    Raises:
        UserError: If there is no such run, or pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise UserError("pandas is not installed", key="fmlab.table", hint="pip install pandas") from error
    comparison = compare(runs, runs_dir=runs_dir)
    rows = [_row(member, comparison.keys) for member in comparison.members]
    flags = dict.fromkeys(key for member in comparison.members for key in member.run.flags)
    columns = list(dict.fromkeys(name for row in rows for name in row if name not in flags or name in comparison.keys))
    rest = [key for key in flags if key not in columns and key != SEED]
    return pandas.DataFrame(rows, columns=[*columns, *rest])


def _row(member: Member, keys: list[str]) -> dict[str, Any]:
    run = member.run
    row: dict[str, Any] = {
        "folder": str(run.layout.root),
        "experiment": run.layout.experiment,
        "id": run.layout.id,
        "state": run.status.state,
        "seed": run.seed,
        **{key: run.flags.get(key) for key in keys},
    }
    for name, score in member.scores.items():
        row[name] = score.final
        if score.best_step is not None and name.startswith("val/"):
            row[f"{name}.best"] = score.best
    return {**row, **asdict(member.costs), **{key: value for key, value in run.flags.items() if key not in keys}}
