"""What is drawn for W&B's ranges, held against the ranges' own definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from fmlab.launch.sweep import space
from fmlab.launch.sweep.command import expand


def draws(form: dict[str, Any], n: int = 2000) -> list[Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    choices = space.distribution(form)
    return [space.flag_value(form, study.ask()._suggest("x", choices)) for _ in range(n)]


LAWS = {
    "uniform": ({"min": 1.0, "max": 3.0}, stats.uniform(1, 2)),
    "log_uniform_values": (
        {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        stats.loguniform(1e-4, 1e-1),
    ),
    "log_uniform": ({"distribution": "log_uniform", "min": -3, "max": 2}, stats.loguniform(math.exp(-3), math.exp(2))),
    "inv_log_uniform": (
        {"distribution": "inv_log_uniform", "min": 1, "max": 3},
        stats.loguniform(math.exp(-3), math.exp(-1)),
    ),
    "normal": ({"distribution": "normal", "mu": 2.0, "sigma": 0.5}, stats.norm(2, 0.5)),
    "log_normal": ({"distribution": "log_normal", "mu": 0.0, "sigma": 1.0}, stats.lognorm(1.0)),
    "beta": ({"distribution": "beta", "a": 2.0, "b": 5.0}, stats.beta(2, 5)),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_range_has_its_law(name: str) -> None:
    form, law = LAWS[name]
    assert space.range_of("x", form) == name
    assert stats.kstest(draws(form, 1000), law.cdf).pvalue > 1e-3


def test_steps_and_whole_numbers() -> None:
    assert set(draws({"min": 1, "max": 3}, 100)) == {1, 2, 3}
    stepped = draws({"distribution": "q_uniform", "min": 0, "max": 10, "q": 5}, 200)
    assert set(stepped) == {0, 5, 10}
    assert {type(value) for value in stepped} == {int}
    assert space.list_values({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}) == [
        0,
        0.25,
        0.5,
        0.75,
        1,
    ]


def test_lists_keep_their_types() -> None:
    values = [1, 1.0, True, None, "1", "CondOT", [1, 2]]
    drawn = draws({"values": values}, 300)
    assert {(type(value), str(value)) for value in drawn} == {(type(value), str(value)) for value in values}


def test_odds() -> None:
    drawn = draws({"values": ["a", "b"], "probabilities": [0.9, 0.1]})
    assert np.mean([value == "a" for value in drawn]) == pytest.approx(0.9, abs=0.03)


def test_a_grid_is_every_combination_the_last_fastest() -> None:
    points = space.grid({"a": {"values": [1, 2]}, "b": {"value": None}, "c": {"min": 0, "max": 1}})
    assert points == [{"a": a, "b": None, "c": c} for a in (1, 2) for c in (0, 1)]


def test_the_words_are_those_of_wandbs_agent() -> None:
    """The client's own functions fill in the same command line."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    parameters = {"lr": 1.0e-5, "n": 3, "flip": True, "none": None, "path": "VP", "list": [1, None, "a b"]}
    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in parameters.items()}})
    for macro in ("args", "args_no_equals", "args_no_hyphens"):
        assert expand(["x", f"${{{macro}}}"], "fmlab", parameters) == ["x", *arguments[macro]]
    assert expand(["${env}", "${program}", "${args}"], "fmlab", {}) == ["/usr/bin/env", "fmlab"]
