"""The parameters of a sweep held against the command they are flags of, before a run is wasted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fmlab.errors import UserError, nearest
from fmlab.launch.sweep import space
from fmlab.launch.sweep.command import expand
from fmlab.launch.sweep.sweep_file import Sweep
from fmlab.records import find_run

if TYPE_CHECKING:
    from fmlab.config.prepare import Prepared


def check_flags(sweep: Sweep) -> int:
    """Goes through every value of every parameter, one parameter at a time, as the command would; returns how many.

    A program that is not `fmlab fit` or `fmlab evaluate` is not known, and not checked.

    Raises:
        UserError: At the first value that the command refuses, and if it never logs the metric.
    """
    if sweep.program[:1] != ["fmlab"] or sweep.program[1:2] not in (["fit"], ["evaluate"]):
        return 0
    checked = 0
    for parameters in variants(sweep):
        words = expand(sweep.command, str(sweep.content["program"]), parameters)
        verb = words.index(sweep.program[1])
        check_one = _check_fit if words[verb] == "fit" else _check_evaluate
        try:
            logged = check_one(words[verb + 1 :])
        except UserError as error:
            key = f"{sweep.file}: {error.key}" if error.key else str(sweep.file)
            raise UserError(error.message, key=key, hint=error.hint) from error
        metric = sweep.metric
        if metric is not None and logged is not None and metric not in logged and "_t_bin_" not in metric:
            cause = f"{metric} is never logged by this command"
            raise UserError(cause, key=f"{sweep.file}: metric", hint=nearest(metric, logged))
        checked += 1
    return checked


def fetch_data(sweep: Sweep) -> None:
    """Gets the data set of a sweep of trainings where it is not there yet: once, and before all trials fail for it.

    Raises:
        UserError: If it is not there and cannot be had.
    """
    if sweep.program == ["fmlab", "fit"]:
        from fmlab.config.prepare import prepare  # heavy

        words = expand(sweep.command, str(sweep.content["program"]), next(variants(sweep)))
        prepare(words[words.index("fit") + 1 :]).data.prepare_data()


def variants(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """The first value of every parameter, then each other value of each; of a range its ends."""
    choices = {name: _some(form) for name, form in sweep.parameters.items()}
    first = {name: values[0] for name, values in choices.items()}
    yield first
    for name, values in choices.items():
        for value in values[1:]:
            yield {**first, name: value}


def _some(form: dict[str, Any]) -> list[Any]:
    if "value" in form or "values" in form:
        return space.listed(form)
    choices = space.distribution(form)
    return [space.value(form, bound) for bound in (choices.low, choices.high)]  # type: ignore[union-attr]


def _check_fit(words: list[str]) -> set[str] | None:
    from fmlab.config.prepare import prepare  # heavy, and no business of a worker

    return logged_by_fit(prepare(words))


def logged_by_fit(prepared: Prepared) -> set[str] | None:
    """The metrics that a training logs; None where parts of the user's own may log others."""
    config, kind = prepared.config, getattr(prepared.data, "kind", "images")
    own = not config["model"]["class_path"].startswith("fmlab.")
    if own or (config.get("trainer") or {}).get("callbacks"):
        return None
    logged = {"train/loss", "train/lr", "train/grad_norm", "val/loss"}
    if config["model"]["class_path"].endswith("NoisyClassifier"):
        logged.add("val/accuracy")
    if _enabled(config, "throughput"):
        logged |= {"perf/images_per_second", "perf/milliseconds_per_step"}
    if _enabled(config, "floor"):
        logged |= {"train/excess", "train/floor"}
    if _enabled(config, "fid") and kind == "points":
        logged |= {"val/w2", "val/mmd"}
    elif _enabled(config, "fid"):
        features = config["fid"].get("features", "auto")
        if features == "auto":
            features = "random" if getattr(prepared.data, "num_classes", None) is None else "domain"
        suffix = "" if features == "inception" else f"_{features}"
        logged |= {f"val/fid{suffix}", f"val/kid{suffix}"}
    return logged


def _enabled(config: dict[str, Any], section: str) -> bool:
    return config.get(section) is not None and config[section].get("enabled", True) is not False


def _check_evaluate(words: list[str]) -> set[str] | None:
    """Options, classes and the run; the metrics that an evaluation of it logs."""
    from fmlab.commands.evaluate import _BASES, choices
    from fmlab.commands.evaluate_options import read
    from fmlab.commands.evaluate_options import words as listed
    from fmlab.evaluation.wanted import METRICS, USUAL
    from fmlab.metrics.wanted import METRICS as IMAGE_METRICS

    options, parts = read(words)
    for name, base in _BASES.items():
        list(choices(name, base, getattr(options, name), parts))
    find_run(options.run)
    wanted = (
        listed(options.metrics, "metrics") if options.metrics else [name for usual in USUAL.values() for name in usual]
    )
    for name in wanted:
        if name not in METRICS:
            raise UserError(f"there is no metric {name!r}", key="metrics", hint=nearest(name, METRICS))
    scores = [score for name in wanted for score in (IMAGE_METRICS[name].scores if name in IMAGE_METRICS else (name,))]
    suffixes = ["", "_domain", "_random"] if options.features == "auto" else ["", f"_{options.features}"]
    return {f"evaluate/{score}{suffix}" for score in scores for suffix in suffixes} | {"evaluate/nfe"}
