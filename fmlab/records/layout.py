"""Where the files of a run lie: `runs/<experiment>/<id>/`."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fmlab.errors import UserError, nearest
from fmlab.records.atomic import torn_files
from fmlab.records.bounded import read_json_object

_NAME = re.compile(r"\w[\w.+=@-]*")
_NAME_HINT = "letters, digits and . _ - + = @"
_ID = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-[0-9a-f]{4}")


@dataclass(frozen=True)
class RunLayout:
    """The paths in a run's folder; none of them need exist.

    Attributes:
        root: The folder.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    @property
    def id(self) -> str:
        return self.root.name

    @property
    def experiment(self) -> str:
        return self.root.parent.name

    @property
    def config(self) -> Path:
        """The complete configuration, resolved."""
        return self.root / "config.yaml"

    @property
    def raw_config(self) -> Path:
        """The configuration as files and overrides say it, `${...}` unresolved."""
        return self.root / "config.raw.yaml"

    @property
    def command(self) -> Path:
        """What the user typed."""
        return self.root / "command.txt"

    @property
    def files(self) -> Path:
        """The configuration files as they were."""
        return self.root / "files"

    @property
    def meta(self) -> Path:
        """Versions, git state, host."""
        return self.root / "meta.json"

    @property
    def status(self) -> Path:
        """Whether it runs, and how it ended."""
        return self.root / "status.json"

    @property
    def starts(self) -> Path:
        """What was typed at every start, and the complete configuration of it."""
        return self.root / "starts"

    @property
    def lock(self) -> Path:
        """Held by the process that trains the run."""
        return self.root / ".lock"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.csv"

    @property
    def measurement(self) -> Path:
        """How its validation measures samples."""
        return self.root / "measurement.json"

    @property
    def samples(self) -> Path:
        """The sample grids."""
        return self.root / "samples"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def power_averages(self) -> Path:
        """Snapshots of power-function averages."""
        return self.root / "power_ema"

    @property
    def torn(self) -> list[Path]:
        """The files that a killed process left half written, of all that training writes."""
        folders = (self.root, self.checkpoints, self.samples, self.power_averages)
        return [file for folder in folders for file in torn_files(folder)]

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def previous(self) -> Path:
        """What `last` was before."""
        return self.checkpoints / "previous.ckpt"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best.ckpt"

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to continue from."""
        return any(file.is_file() for file in (self.last, self.previous, self.best))

    def checkpoint(self, which: str = "best") -> Path:
        """A checkpoint: `best` (the last one where no best was kept), `last`, or a file, here or in the run.

        Raises:
            UserError: If there is none.
        """
        choices = {"best": [self.best, self.last], "last": [self.last]}.get(which)
        choices = choices or [Path(which), self.checkpoints / which, self.checkpoints / f"{which}.ckpt"]
        file = next((path for path in choices if path.is_file()), None)
        if file is None:
            saved = [path.stem for path in self.checkpoints.glob("*.ckpt")]
            hint = nearest(which, saved) if saved else "this run has not saved a checkpoint yet"
            raise UserError(f"no checkpoint {which!r}", key=str(self.root), hint=hint)
        return file


def new_run(folder: str | Path, experiment: str, run_id: str | None = None) -> RunLayout:
    """A new run's folder, which nobody else has: `folder/experiment/20261123-061203-a1b2`.

    Args:
        folder: Where all runs live.
        experiment: The experiment's name.
        run_id: A given id instead, shared by the processes of one job; the folder may then exist.

    Raises:
        UserError: If a name is no folder's name, or the folder cannot be made.
    """
    if not _NAME.fullmatch(experiment):
        raise UserError(f"{experiment!r} is no folder's name", key="run.name", hint=_NAME_HINT)
    if run_id is not None and not _NAME.fullmatch(run_id):
        raise UserError(f"{run_id!r}, from the environment, is no folder's name", key="run id", hint=_NAME_HINT)
    parent = Path(folder) / experiment
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            root = parent / (run_id or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")
            try:
                root.mkdir(exist_ok=run_id is not None)
                break
            except FileExistsError:
                continue
        layout = RunLayout(root)
        for subfolder in (layout.checkpoints, layout.samples):
            subfolder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {parent}: {error.strerror}", key="run.dir") from error
    return layout


def find_run(name: str | Path, runs_dir: str | Path = "runs") -> RunLayout:
    """A run by its folder, its id, or its experiment's name, which means the newest run.

    A run that failed before it saved anything is the newest only where there is no other.

    Args:
        name: `runs/digits/20261123-061203-a1b2`, `20261123-061203-a1b2` or `digits`.
        runs_dir: Where all runs live.

    Raises:
        UserError: If there is none, with the nearest name.
    """
    folder, runs = Path(name), Path(runs_dir)
    if _is_run(folder):
        return RunLayout(folder)
    candidates = [folder, runs / folder, *(run for run in sorted(runs.glob("*/*")) if run.name == str(name))]
    for candidate in candidates:
        if _is_run(candidate):
            return RunLayout(candidate)
        if candidate.is_dir() and (inside := list(_runs_in(candidate))):
            return RunLayout(max(inside, key=lambda run: (not _came_to_nothing(run), created(run))))
    experiments = [child.name for child in runs.glob("*") if child.is_dir() and any(_runs_in(child))]
    ids = [child.name for child in runs.glob("*/*") if _is_run(child)]
    hint = nearest(folder.name, [*experiments, *ids]) if ids else f"there are no runs in {runs.resolve()}"
    if ids and hint.startswith("choose"):
        hint = nearest(folder.name, experiments)
    raise UserError("there is no such run", key=str(name), hint=hint)


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


def _came_to_nothing(run: Path) -> bool:
    """Whether a run failed before it saved anything, by a mistake in its configuration for instance."""
    failed = read_json_object(run / "status.json").get("state") == "failed"
    return failed and not any((run / "checkpoints").glob("*.ckpt"))


def _runs_in(folder: Path) -> Iterator[Path]:
    return (child for child in folder.iterdir() if _is_run(child))


def created(run: Path) -> str:
    """When a run was made, as ISO time: from its record, or from its id."""
    recorded = read_json_object(run / "meta.json").get("created")
    if recorded is not None:
        return str(recorded)
    match = _ID.fullmatch(run.name)
    return "{}-{}-{}T{}:{}:{}".format(*match.groups()) if match else ""
