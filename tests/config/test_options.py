"""The option grammar: from the words of a command line to a dataclass, and its help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from annotated_types import Ge

from fmlab.config.option_help import describe_options
from fmlab.config.options import Component, Named, Overrides, Positional, Repeated, Typed, parse_options
from fmlab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """Options of several verbs.

    Args:
        guidance_scale: How much.
        guidance_interval: From where to where.
    """

    guidance_scale: Annotated[float, Named("guidance.scale")] = 1.0
    guidance_interval: Annotated[tuple[float, float] | None, Named("guidance.interval")] = None


@dataclass(frozen=True)
class Options(Inherited):
    """Does something.

      fmlab try digits

    Args:
        run: Which run.
        num_samples: How many.
        steps: Several.
        kind: Which kind.
        trust: Trust it.
        dry_run: Only print.
        solver: The solver.
        slurm: Anything.
        files: Files.
    """

    run: Annotated[str, Positional()]
    others: Annotated[tuple[str, ...], Positional("OTHER")] = ()
    num_samples: Annotated[int, Ge(1)] | None = None
    steps: tuple[Annotated[int, Ge(1)], ...] = (20,)
    kind: Literal["averaged", "raw"] = "averaged"
    trust: bool = False
    dry_run: Annotated[bool, Named("dry-run")] = False
    solver: Component = Component("Heun")
    slurm: Mapping[str, str] = field(default_factory=dict)
    files: Annotated[tuple[str, ...], Repeated()] = ()


@dataclass(frozen=True)
class Configured:
    """Takes a configuration."""

    run: Annotated[str | None, Positional()] = None
    resume: str | None = None
    checkpoint: str = "best"
    typed: Annotated[tuple[str, ...], Typed()] = ()
    overrides: Annotated[tuple[str, ...], Overrides()] = ()


def read(*argv: str) -> Options:
    return parse_options(Options, argv, "try")


def test_every_kind_of_option() -> None:
    argv = [
        "digits",
        "a",
        "b",
        "--num_samples",
        "5",
        "--steps=5,10,5",
        "--kind",
        "raw",
        "--trust",
        "--dry-run",
        "--files",
        "x,y",
        "--files",
        "z",
    ]
    options = read(*argv, "--guidance.interval", "0.1,0.9", "--slurm.time", "1:00:00", "--slurm.mem=4G")
    assert options == Options(
        "digits",
        ("a", "b"),
        5,
        (5, 10),
        "raw",
        True,
        True,
        guidance_interval=(0.1, 0.9),
        slurm={"time": "1:00:00", "mem": "4G"},
        files=("x,y", "z"),
    )


def test_what_is_left_out_is_the_default() -> None:
    assert read("digits") == Options("digits")


def test_a_positional_may_be_given_by_name() -> None:
    assert read("--run", "digits", "--steps", "3") == read("digits", "--steps=3")


def test_a_component_keeps_its_arguments_whatever_their_order() -> None:
    solver = Component("RK4", {"a": 1, "b.c": [1, 2]})
    assert read("x", "--solver.a=1", "--solver", "RK4", "--solver.b.c", "[1,2]").solver == solver
    assert read("x", "--solver.a=1").solver == Component("Heun", {"a": 1}), "of the default class"


def test_null_leaves_an_option_out() -> None:
    assert read("x", "--num_samples=null", "--guidance.interval", "None") == read("x")
    assert read("x", "--solver=null").solver == Component(None)


def test_a_negative_number_is_a_value() -> None:
    assert read("x", "--guidance.scale", "-1.5").guidance_scale == -1.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "try: RUN is missing"),
        ("x --stesp 5", "--stesp: fmlab try has no such option\n  did you mean --steps?"),
        ("x --n 5", "did you mean --num_samples?"),
        ("x --dry_run", "did you mean --dry-run?"),
        ("x --guidance_scale 2", "did you mean --guidance.scale?"),
        ("x --qqqqq", "fmlab try --help lists the options"),
        ("x -n 5", "-n: fmlab try has no such option"),
        ("x --steps", "--steps: needs a value"),
        ("x --steps 5,,6", "steps: cannot read '5,,6'"),
        ("x --steps 5,0", "steps: has to be at least 1, got 0"),
        ("x --num_samples many", 'num_samples: expected int or null, got "many"'),
        ("x --num_samples 2.5", "num_samples: expected int or null, got 2.5"),
        ("x --guidance.interval 0.1", "guidance.interval: expected 2 values with commas"),
        ("x --guidance.scale soon", 'guidance.scale: expected float, got "soon"'),
        ("x --kind rwa", 'kind: expected one of averaged, raw, got "rwa"\n  did you mean raw?'),
        ("x --slurm 5", "did you mean --slurm.NAME?"),
        ("x --trust=maybe", "trust: expected bool"),
    ],
)
def test_a_mistake_names_the_option(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(*text.split())
    assert message in str(caught.value)
    assert len(caught.value.report().splitlines()) <= 3


def test_overrides_go_to_the_configuration_as_they_were_typed() -> None:
    argv = [
        "--config",
        "a.yaml",
        "digits",
        "--fid.steps",
        "5",
        "model.path=VP",
        "--resume",
        "x",
        "--a=-1",
        "--b",
        "-1",
        "--checkpoint.monitor=y",
    ]
    options = parse_options(Configured, argv, "try")
    assert options.typed == tuple(argv)
    assert options.run == "digits"
    assert options.resume == "x"
    assert options.checkpoint == "best"
    assert " ".join(options.overrides) == (
        "--config a.yaml --fid.steps 5 model.path=VP --a=-1 --b -1 --checkpoint.monitor=y"
    )


def test_an_option_misspelt_is_no_override() -> None:
    with pytest.raises(UserError, match="did you mean --resume"):
        parse_options(Configured, ["--resum", "x"], "try")


def test_the_help_is_the_docstring() -> None:
    lines = describe_options(Options, "try").splitlines()
    assert lines[0] == "usage: fmlab try RUN [OTHER ...] [options]"
    assert lines[2] == "Does something."
    assert "  fmlab try digits" in lines
    rows = dict(line.strip().split("  ", 1) for line in lines[5:] if "  " in line.strip())
    rows = {name: text.strip() for name, text in rows.items()}
    assert rows["RUN"] == "Which run"
    assert rows["--num_samples N"] == "How many"
    assert rows["--steps N,..."] == "Several (20)"
    assert rows["--kind averaged|raw"] == "Which kind (averaged)"
    assert rows["--dry-run"] == "Only print"
    assert rows["--solver CLASS"] == "The solver (Heun)"
    assert rows["--guidance.scale X"] == "How much (1)"
    assert rows["--guidance.interval X,X"] == "From where to where"
    assert rows["--slurm.NAME VALUE"] == "Anything"
