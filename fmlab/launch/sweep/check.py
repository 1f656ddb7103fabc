"""The parameters of a sweep held against the command whose flags they are, before a run is wasted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fmlab.errors import UserError, nearest
from fmlab.launch.sweep import space
from fmlab.launch.sweep.command import expand
from fmlab.launch.sweep.sweep_file import Sweep

Check = Callable[[list[str]], set[str] | None]
"""Takes the words after a verb, refuses what is wrong in them, and returns the metrics that the command logs.

None stands for a command that may log others, because parts of it are the user's own.
"""


def check_sweep(sweep: Sweep, checks: Mapping[str, Check]) -> int:
    """Checks every value of every parameter, one at a time, as the check of its verb would; returns how many.

    Raises:
        UserError: At the first value that the command refuses, and if it never logs the metric.
    """
    if sweep.head[:1] != ["fmlab"] or not set(sweep.head[1:2]) & set(checks):
        return 0
    lines = [arguments_of(sweep, parameters) for parameters in vary_parameters(sweep)]
    for argv in lines:
        try:
            metrics = checks[sweep.head[1]](argv)
        except UserError as error:
            key = f"{sweep.file}: {error.key}" if error.key else str(sweep.file)
            raise UserError(error.message, key=key, hint=error.hint) from error
        metric = sweep.metric_name
        if metric is not None and metrics is not None and metric not in metrics and "_t_bin_" not in metric:
            cause = f"{metric} is never logged by this command"
            raise UserError(cause, key=f"{sweep.file}: metric", hint=nearest(metric, metrics))
    return len(lines)


def fetch_data(sweep: Sweep) -> None:
    """Downloads the data set of a sweep of trainings where it is missing: once, and before all trials fail for it."""
    if sweep.head == ["fmlab", "fit"]:
        from fmlab.config.prepare import prepare  # heavy, and a worker needs none of it

        prepare(arguments_of(sweep, next(vary_parameters(sweep)))).data.prepare_data()


def check_fit(argv: list[str]) -> set[str] | None:
    """Checks the words of `fmlab fit`, and asks its parts which metrics they log; None where a part is the user's."""
    from fmlab.config.classes import find_class
    from fmlab.config.prepare import make_section, prepare
    from fmlab.config.schema import callbacks_in
    from fmlab.data import DataModule
    from fmlab.training import NonFinite
    from fmlab.training.module import NetworkModule

    prepared = prepare(argv)
    config = prepared.config
    model, callbacks = config["model"]["class_path"], (config.get("trainer") or {}).get("callbacks")
    if not model.startswith("fmlab.") or callbacks or not isinstance(prepared.data, DataModule):
        return None
    module = find_class(model, (NetworkModule,), "model")
    assert issubclass(module, NetworkModule)
    callbacks = [NonFinite(), *(make_section(one.name, config[one.name]) for one in callbacks_in(config))]
    parts = [part for part in callbacks if hasattr(part, "logged_metrics") and part.enabled]
    return set(module.LOGGED_METRICS).union(*(part.logged_metrics(prepared.data) for part in parts))


def arguments_of(sweep: Sweep, parameters: Mapping[str, Any]) -> list[str]:
    """Returns what the verb of `fmlab` is given with these parameters."""
    argv = expand(sweep.command, sweep.program, parameters)
    return argv[argv.index(sweep.head[1]) + 1 :]


def vary_parameters(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Yields the first value of every parameter, then each other value of each; of a range its ends."""
    choices = {name: _some_values(form) for name, form in sweep.parameters.items()}
    first = {name: values[0] for name, values in choices.items()}
    yield first
    for name, values in choices.items():
        for value in values[1:]:
            yield {**first, name: value}


def _some_values(form: dict[str, Any]) -> Sequence[Any]:
    if "value" in form or "values" in form:
        return space.list_values(form)
    choices = space.distribution(form)
    return [space.flag_value(form, bound) for bound in (choices.low, choices.high)]  # type: ignore[union-attr]
