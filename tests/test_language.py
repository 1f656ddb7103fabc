"""Names say what they hold: no variable, parameter, attribute, function or class has one of the vague names below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from structure import ROOT

VAGUE = {"found", "told", "kept", "made", "words", "there", "wanted", "said", "known", "still", "place"}


def defined_names(code: str) -> Iterator[tuple[str, int]]:
    """Every name that the code gives, with its line."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield name, node.lineno
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name, node.lineno


@pytest.mark.parametrize("folder", ["fmlab", "tests", "benchmarks"])
def test_names_say_what_they_hold(folder: str) -> None:
    files = sorted(Path(ROOT, folder).rglob("*.py"))
    assert files
    vague = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in files
        for name, line in defined_names(file.read_text(encoding="utf-8"))
        if name in VAGUE
    ]
    assert not vague, "call each by a noun for what it holds:\n" + "\n".join(vague)


def test_every_kind_of_name_is_seen() -> None:
    code = """
def f(a, *b, c: int, **d): e = 1
class G: h: int = 2
async def i(): self.j = [k for k, in x if (l := k)]
with x as m, y as (n, *o): import p as q, r
try: u += 1
except E as s: pass
match x:
    case [t, *v] | {"key": w, **z}: pass
"""
    assert sorted(name for name, _ in defined_names(code)) == sorted("fabcdeGhijklmnoqsutvwz")
