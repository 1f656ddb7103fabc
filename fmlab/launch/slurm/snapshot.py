"""A copy of the code as it is, so that later edits do not change a job that waits."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import fmlab
from fmlab.errors import UserError
from fmlab.records.atomic import atomic_write_text

START = "start.py"
_START = '''"""The fmlab that PYTHONPATH names, whatever lies in the folder it is started in."""

import os
import sys

if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]

from fmlab.__main__ import main

sys.exit(main())
'''
_LARGEST = 5_000_000
"""Bytes of a file that git does not know, beyond which it is no code."""


def snapshot(target: Path, own: Sequence[str | Path] = ()) -> list[Path]:
    """Copies fmlab, and the folders of the user's own parts, into a folder.

    Of a git checkout: every tracked file as it is now, and Python files git does not know; a `.diff` beside it says how
    it differs from the commit. Of an installed package: the package. `start.py` is the command, which `python -m fmlab`
    is not: that would prefer what lies in the folder it is started in.

    Args:
        target: The folder, which is made.
        own: Folders in which the user's own parts lie.

    Returns:
        What is to stand first in PYTHONPATH, the user's folders before fmlab.

    Raises:
        UserError: If a file cannot be read or written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        home = Path(fmlab.__file__).resolve().parent
        places, copied = [], _copy(home.parent, target / "fmlab", only=home.name)
        for index, folder in enumerate(dict.fromkeys(Path(each).resolve() for each in own)):
            if folder != home.parent and folder.is_dir():
                places.append(_copy(folder, target / f"own{index}"))
        atomic_write_text(target / START, _START)
        return [*places, copied]
    except OSError as error:
        raise UserError(f"the code cannot be copied: {error.strerror}", key=str(error.filename or target)) from error


def _copy(folder: Path, target: Path, only: str | None = None) -> Path:
    """Copies a folder, or one package in it, and returns what to put into PYTHONPATH."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        _copy_python(folder, target, only)
        return target
    root = Path(top.decode().strip())
    within = folder.resolve().relative_to(root.resolve())
    # A commit of the files as they are, which touches neither branch nor index; empty where nothing differs.
    commit = (_git(root, "stash", "create") or b"").decode().strip() or "HEAD"
    archive = _git(root, "archive", commit)
    if archive is None:
        _copy_python(folder, target, only)
        return target
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(target, filter="data")
    unknown = (_git(root, "ls-files", "-z", "--others", "--exclude-standard", "*.py") or b"").decode().split("\0")
    for name in filter(None, unknown):
        if (root / name).is_file() and (root / name).stat().st_size < _LARGEST:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    said = (_git(root, "rev-parse", "HEAD") or b"?").decode().strip()
    changes = (_git(root, "diff", "HEAD") or b"").decode(errors="replace")
    new = "".join(f"# and not known to git: {name}\n" for name in filter(None, unknown))
    atomic_write_text(target.with_name(f"{target.name}.diff"), f"# against commit {said}\n{new}{changes}")
    return target / within


def _copy_python(folder: Path, target: Path, only: str | None) -> None:
    """Copies a package, or the Python files of a folder that is no repository, its direct packages included."""
    if only is not None:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(folder / only, target / only, ignore=skip, dirs_exist_ok=True)
        return
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.py"):
        shutil.copy2(file, target / file.name)
    for package in folder.glob("*/__init__.py"):
        if not (package.parent / "pyvenv.cfg").exists():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(package.parent, target / package.parent.name, ignore=skip, dirs_exist_ok=True)


def _git(folder: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
