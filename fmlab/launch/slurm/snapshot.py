"""A copy of the code as it is, so that later edits do not change a job that waits.

It is run, and so it is exact: credentials in it stay. Only its owner may look into its folder.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fmlab.errors import UserError
from fmlab.records.atomic import atomic_write_text
from fmlab.records.secrets import without_secrets

CODE = "code"
"""The folder of the copy, beside the script."""
START = "start.py"
"""The command within it. `python -m fmlab` would prefer what lies in the folder it is started in."""

_START_TEXT = '''"""The fmlab that PYTHONPATH names, whatever lies in the folder it is started in."""

import os
import sys

if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]

from fmlab.__main__ import main

sys.exit(main())
'''
_LARGEST = 5_000_000
"""Bytes of a file unknown to git, beyond which it is taken for data, not code."""


def copy_code(target: Path, own_folders: Sequence[str | Path] = ()) -> list[Path]:
    """Copies fmlab, and the folders of the user's own parts, into a folder.

    Of a git checkout: every tracked file as it is now, and Python files that git does not know; a `.diff` beside the
    copy says, without secrets, how it differs from the commit. Of an installed package: the package. Returns what is
    to stand first in PYTHONPATH, the user's folders before fmlab.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(0o700)
        package = Path(__file__).resolve().parents[2]
        copies = []
        for index, folder in enumerate(dict.fromkeys(Path(own).resolve() for own in own_folders)):
            if folder != package.parent and folder.is_dir():
                copies.append(_copy_folder(folder, target / f"own{index}"))
        copies.append(_copy_folder(package.parent, target / "fmlab", only=package.name))
        atomic_write_text(target / START, _START_TEXT)
        return copies
    except OSError as error:
        raise UserError(f"the code cannot be copied: {error.strerror}", key=str(error.filename or target)) from error


def _copy_folder(folder: Path, target: Path, only: str | None = None) -> Path:
    """Copies a folder, or one package in it, and returns what to put into PYTHONPATH."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        _copy_python(folder, target, only)
        return target
    root = Path(top.strip())
    tracked, untracked = (
        [name for name in (_git(root, "ls-files", "-z", *options) or "").split("\0") if (root / name).is_file()]
        for options in ((), ("--others", "--exclude-standard", "*.py"))
    )
    untracked = [name for name in untracked if (root / name).stat().st_size < _LARGEST]
    for name in [*tracked, *untracked]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    head, changes = (_git(root, "rev-parse", "HEAD") or "?").strip(), _git(root, "diff", "HEAD") or ""
    notes = "".join(f"# and not known to git: {name}\n" for name in untracked)
    difference = f"# against commit {head}\n{notes}{changes}".encode(errors="replace").decode()  # names may be no UTF-8
    atomic_write_text(target.with_name(f"{target.name}.diff"), without_secrets(difference))
    return target / folder.resolve().relative_to(root.resolve())


def _copy_python(folder: Path, target: Path, only: str | None) -> None:
    """Copies one package, or the Python files of a folder that is no repository, its direct packages included."""
    target.mkdir(parents=True, exist_ok=True)
    packages = [folder / only] if only else [file.parent for file in folder.glob("*/__init__.py")]
    for file in [] if only else folder.glob("*.py"):
        shutil.copy2(file, target / file.name)
    for package in packages:
        if not (package / "pyvenv.cfg").exists():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(package, target / package.name, ignore=skip, dirs_exist_ok=True)


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns what git prints; None where it fails."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        output = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return output.decode(errors="surrogateescape")
