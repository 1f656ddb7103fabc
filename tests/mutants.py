"""Breaks the code one line at a time; the tests named beside each break must fail.

`python tests/mutants.py [WORD ...]` applies the breaks of `tests/breaks.txt` (those whose file or description contains
one of the words) to copies of the package, several side by side. It exits with 1 if a break survives or cannot be
applied. `--check` runs no test: it only says which breaks cannot be applied.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("breaks.txt")
COPIED = ("fmlab", "tests", "experiments", "sweeps", "pyproject.toml")
CHANGE = re.compile("«(.*?)→(.*?)»", re.DOTALL)
TIMEOUT = 300  # seconds; a break may keep its tests from ending


@dataclass(frozen=True)
class Break:
    """One wrong line.

    Attributes:
        what: What is wrong then.
        file: The file, in `fmlab/`.
        old: Code that stands in the file exactly once.
        new: The code that takes its place.
        tests: The arguments of pytest, one of whose tests must fail.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_breaks(table: str) -> list[Break]:
    """The breaks of the table, in its order."""
    breaks, file, tests = [], "", ""
    for line in table.splitlines():
        if not line or line.startswith("#"):
            continue
        if not line.startswith(" "):
            file, tests = line.split(" | ")
            continue
        what, code = line.strip().split(": ", 1)
        code = code.replace("⏎", "\n")
        breaks.append(Break(what, file, CHANGE.sub(r"\1", code), CHANGE.sub(r"\2", code), tuple(shlex.split(tests))))
    return breaks


def obstacle(each: Break, root: Path = ROOT) -> str | None:
    """Why a break cannot be applied to the package in `root`; None if it can."""
    path = root / "fmlab" / each.file
    if not path.is_file():
        return f"there is no file fmlab/{each.file}"
    count = path.read_text(encoding="utf-8").count(each.old)
    if count != 1:
        return f"its code stands {count} times in fmlab/{each.file}"
    if each.old == each.new:
        return "it changes nothing"
    missing = [word for word in each.tests if word.startswith("tests/") and not (root / word).exists()]
    return f"there is no {missing[0]}" if missing else None


def test_that_fails(each: Break, root: Path) -> str | None:
    """The first test that fails on the package in `root` once it is broken, which it is for that long; None if none."""
    path = root / "fmlab" / each.file
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace(each.old, each.new), encoding="utf-8")
    options = ["-x", "-q", "-n0", "--tb=no", "-p", "no:cacheprovider"]
    threads = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *each.tests],
            cwd=root,
            env={**os.environ, **threads, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(each.tests)} does not end"
    finally:
        path.write_text(original, encoding="utf-8")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", result.stdout, re.MULTILINE)
    return failed.group(1) if result.returncode == 1 and failed else None


def copy_package(root: Path) -> Path:
    """Copies the package and its tests to a new folder."""
    root.mkdir()
    for source in (ROOT / name for name in COPIED):
        if source.is_dir():
            shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, root / source.name)
    return root


def run(breaks: list[Break]) -> int:
    """Applies every break, as many side by side as there are cores; returns how many were not caught."""
    workers = max(1, min(len(breaks), os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        copies: Queue[Path] = Queue()
        for number in range(workers):
            copies.put(copy_package(Path(folder) / str(number)))

        def report(each: Break) -> bool:
            root = copies.get()
            cause = obstacle(each, root)
            test = None if cause else test_that_fails(each, root)
            copies.put(root)
            print(f"{each.file:32} {each.what:60} {cause or test or 'SURVIVED'}", flush=True)
            return test is not None

        caught = sum(pool.map(report, breaks))
    print(f"{caught} of {len(breaks)} breaks were caught")
    return len(breaks) - caught


def check(breaks: list[Break]) -> int:
    """Says which breaks cannot be applied; returns how many those are."""
    causes = {each: cause for each in breaks if (cause := obstacle(each))}
    for each, cause in causes.items():
        print(f"{each.file:32} {each.what:60} {cause}")
    print(f"{len(breaks) - len(causes)} of {len(breaks)} breaks can be applied")
    return len(causes)


def main(arguments: list[str]) -> int:
    """Exits with 1 if a break survives or cannot be applied."""
    filters = [argument for argument in arguments if argument != "--check"]
    breaks = read_breaks(TABLE.read_text(encoding="utf-8"))
    chosen = [each for each in breaks if not filters or any(word in each.file or word in each.what for word in filters)]
    return int((check if "--check" in arguments else run)(chosen) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
