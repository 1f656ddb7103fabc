"""Hostile values for the record of a run, and a watch over what a command does with them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from hypothesis import strategies as st

EVIL = "open('ran', 'w')\nfrom torch.nn import Identity as E\nrun = print\n"

NAMES = [
    "evil.E",
    "evil:E",
    "torch.os.system",
    "torch.os.popen",
    "builtins.exec",
    "builtins.print",
    "subprocess.Popen",
    "torch.hub.load",
    "torch.load",
    "torch.fx.symbolic_trace",
    "torch.jit.load",
    "torch.utils.cpp_extension.load",
    "torch.nn.modules.module.torch.os.system",
    "torch.optim.optimizer.torch.load",
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.loggers.CSVLogger",
    "lightning.pytorch.profilers.AdvancedProfiler",
    "fmlab.inference.load",
    "fmlab.data.ImageFolder",
    "fmlab.training.loggers.RunCsv",
    "fmlab.records.atomic.atomic_write_text",
    "importlib.import_module",
    "site-packages",
    "../evil",
    "__main__.main",
    "numpy.f2py.compile",
]

TEXTS = [
    "${oc.env:HOME}",
    "${oc.decode:'[1]'}",
    "${oc.create:${oc.env:HOME}}",
    "${model}",
    "${.}",
    "${" * 50,
    "/etc/passwd",
    "/dev/zero",
    "../../outside/kept.txt",
    "\x00",
    "a\nb",
    "%s%n",
    "x" * 100_000,
    "",
    '{"class_path": "evil.E"}',
    "evil.json",
]

NUMBERS = [-1, 0, 1, 2**31, 2**63, 10**30, -(10**30), float("nan"), float("inf"), 1e300, True]

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi")
)
DOCUMENTS = [
    BOMB,
    "a: &a {b: *a}\n",
    "[" * 5000,
    "- " * 5000,
    "{" * 2000 + "}" * 2000,
    "!!python/object/apply:os.system ['touch ran']\n",
    "!!python/name:evil.E ''\n",
    "",
    "null",
    "[1, 2]",
    "text",
    "\ufeff",
    "a: 1\na: 2\n",
    "\t",
    "%YAML 9.9\n---\n",
    "key: " + "9" * 5000,
    "x" * 3_000_000,
]


def nodes() -> st.SearchStrategy[Any]:
    """A value to stand anywhere in a configuration: classes with arguments, nested, beside texts and numbers."""
    names = st.sampled_from(NAMES)
    leaves = st.one_of(names, st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.none(), st.text(max_size=20))

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        keys = st.sampled_from(["args", "cmd", "root", "modules", "lr", "path", "file", "save_dir", "fn", "class_path"])
        arguments = st.dictionaries(keys, inner, max_size=3)
        classes = st.fixed_dictionaries({"class_path": st.one_of(names, inner), "init_args": arguments})
        return st.one_of(classes, st.lists(inner, max_size=3), arguments)

    return st.recursive(leaves, larger, max_leaves=6)


def positions(tree: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a configuration, itself among them."""
    yield prefix
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield from positions(child, (*prefix, key))


def put(tree: Any, position: tuple[Any, ...], value: Any) -> Any:
    """The configuration with another value at a position."""
    if not position:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[position[0]] = put(tree[position[0]], position[1:], value)
    return copy


def dump(tree: Any) -> str:
    return yaml.safe_dump(tree, allow_unicode=True)


class Watch:
    """What a command does that no reading of a run should: start a program, import what lies beside it."""

    def __init__(self) -> None:
        self.active = False
        self.deeds: list[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.active and (
            event in ("os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn", "subprocess.Popen")
            or (event == "import" and str(arguments[0]).split(".")[0] in ("evil", "f2py", "numpy.f2py"))
        ):
            self.deeds.append(f"{event} {arguments}"[:200])

    @contextmanager
    def watching(self, seconds: int) -> Iterator[None]:
        """Notes what is done, and raises TimeoutError after a time."""

        def too_late(number: int, frame: FrameType | None) -> None:
            raise TimeoutError(f"no answer within {seconds} s")

        previous = signal.signal(signal.SIGALRM, too_late)
        signal.alarm(seconds)
        self.deeds, self.active = [], True
        try:
            yield
        finally:
            self.active = False
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file below a folder with its kind, its size and when it was changed; links are not followed."""
    stats = {str(path.relative_to(folder)): os.lstat(path) for path in folder.rglob("*")}
    return {name: (stat.st_mode, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
