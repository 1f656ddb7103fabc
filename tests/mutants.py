"""Breaks the code one line at a time and names the test that notices: `python tests/mutants.py [WORD ...]`.

Each break is applied to a copy of the package; the tests named beside it must fail. Words choose the breaks whose file
or description contains one of them. Exits with 1 if a break survives or its line is no longer there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from breaks import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]
LONGEST = 600  # seconds; the slowest of the tests named need about 80


def apply(mutant: Mutant, copy: Path) -> str | None:
    """Breaks the copy; returns the original text, or None if the line is not there exactly once."""
    file = copy / "fmlab" / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        return None
    file.write_text(text.replace(mutant.old, mutant.new))
    return text


def caught_by(mutant: Mutant, copy: Path) -> str | None:
    """The first test that fails on the broken copy, or what does not end on it; None if all pass."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n0",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        *mutant.tests.split(),
    ]
    try:
        ended = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return f"{mutant.tests} does not come to an end"
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    return found.group(1) if ended.returncode == 1 and found else None


def main(words: list[str]) -> int:
    """Applies every chosen break in turn."""
    chosen = [m for m in MUTANTS if not words or any(word in m.file or word in m.what for word in words)]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("fmlab", "tests", "experiments", "sweeps", "pyproject.toml"):
            source = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            (
                shutil.copytree(source, copy / name, ignore=ignore)
                if source.is_dir()
                else shutil.copy2(source, copy / name)
            )
        for mutant in chosen:
            original = apply(mutant, copy)
            test = caught_by(mutant, copy) if original is not None else None
            verdict = test or ("SURVIVED" if original is not None else "THE LINE IS NOT THERE")
            bad += test is None
            print(f"{mutant.what:42} {mutant.file:32} {verdict}", flush=True)
            if original is not None:
                (copy / "fmlab" / mutant.file).write_text(original)
    print(f"{len(chosen) - bad} of {len(chosen)} breaks were caught")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
