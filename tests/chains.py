"""Measures how many files deep one training step and the way from one seed to a PNG go.

`python tests/chains.py` trains and samples a tiny run, and puts both into ARCHITECTURE.md.

A chain is a stack of calls, written as its files of `fmlab/` in order; one that follows itself counts once. Frames of
Lightning and torch are left out, and so is what runs while a module is imported.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from structure import PACKAGE, ROOT, write_page

Chain = tuple[str, ...]


class ChainRecorder:
    """The chains of files of every call that is made below a function of a name in a file, while it records."""

    def __init__(self, file: str, function: str) -> None:
        self.root = (str(PACKAGE / file), function)
        self.chains: set[Chain] = set()

    @contextmanager
    def recording(self) -> Iterator[None]:
        sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(None)

    def longest(self) -> Chain:
        """The chain with the most different files; of equal ones the first in the alphabet."""
        return min(self.chains, key=lambda chain: (-len(set(chain)), chain))

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            chain = self._chain(frame)
            if chain:
                self.chains.add(chain)

    def _chain(self, frame: FrameType | None) -> Chain:
        """The files from the root to a frame; empty if the root is not below it, or a module is being imported."""
        files: list[str] = []
        while frame is not None:
            code = frame.f_code
            if code.co_name == "<module>":
                return ()
            if code.co_filename.startswith(str(PACKAGE)):
                name = str(Path(code.co_filename).relative_to(PACKAGE))
                files += [name] if files[-1:] != [name] else []
            if (code.co_filename, code.co_name) == self.root:
                return tuple(reversed(files))
            frame = frame.f_back
        return ()


def sentence(chains: Mapping[str, Chain]) -> str:
    """What ARCHITECTURE.md says of the chains."""
    lengths = " and ".join(f"{len(set(chain))} for {name}" for name, chain in chains.items())
    ways = [f"{name}: {' > '.join(f'`{file}`' for file in chain)}" for name, chain in chains.items()]
    return "\n\n".join([f"Longest chain of files that call one another: {lengths}.", *ways])


def digits_chains(folder: Path) -> dict[str, Chain]:
    """The longest chain of one training step of the digits, and that of `fmlab sample` of the run."""
    from helpers.tiny_runs import arguments, newest

    from fmlab.__main__ import main

    step = ChainRecorder("training/module.py", "training_step")
    _record(step, lambda: main(["fit", *arguments(folder, "--trainer.limit_val_batches=0", steps=2)]))
    run = str(newest(folder).root)
    sample = ChainRecorder("__main__.py", "main")
    _record(sample, lambda: main(["sample", run, "--num_samples", "1", "--labels", "3", "--out", str(folder / "out")]))
    return {"one training step": step.longest(), "one seed to a PNG": sample.longest()}


def _record(recorder: ChainRecorder, command: Callable[[], int]) -> None:
    with recorder.recording():
        assert command() == 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as run_folder:
        write_page(sentence(digits_chains(Path(run_folder))), "<!-- chains: begin -->", "<!-- chains: end -->")
