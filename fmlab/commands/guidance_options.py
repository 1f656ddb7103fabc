"""`--guidance.interval 0.1,0.9` and its like, for every command that samples; read before heavy imports."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmlab.errors import UserError

if TYPE_CHECKING:
    from fmlab.fields import Guidance

OPTIONS = ("interval", "rescale", "eta", "norm_threshold", "weak", "classifier")


def add_guidance(command: argparse.ArgumentParser) -> None:
    """Adds all of guidance but its scale, which is a command's own: one number, or several."""
    about = {
        "interval": "guide where t lies within, such as 0.1,0.9; w is 1 outside (0,1)",
        "rescale": "bring the data prediction's deviation back to the conditional one, by a share in [0, 1] (0)",
        "eta": "factor of the guidance along the conditional data prediction; 0 against over-saturation (1)",
        "norm_threshold": "the largest norm of the guidance in the data prediction (none)",
        "weak": "autoguidance: the run of a weaker network, as RUN, RUN@last, RUN@raw or RUN@FILE",
        "classifier": "classifier guidance: the run of a NoisyClassifier, likewise",
    }
    for name in OPTIONS:
        kind = str if name in ("interval", "weak", "classifier") else float
        command.add_argument(f"--guidance.{name}", dest=f"guidance_{name}", type=kind, help=about[name])


def check_used(guidances: Sequence[Guidance]) -> None:
    """Refuses what is made of the guidance where nothing is guided.

    Raises:
        UserError: If no scale but 1 is asked for, and no classifier.
    """
    for guidance in guidances:
        if guidance.scale != 1 or guidance.classifier is not None or not guidance.changes:
            return
    named = next(iter(guidances[0].changes))
    raise UserError("nothing is guided at scale 1", key=f"guidance.{named}", hint="add --guidance.scale 2")


def parse_interval(text: str) -> tuple[float, float]:
    """`0.1,0.9` or `[0.1,0.9]` as two numbers."""
    try:
        first, last = (float(word) for word in text.strip("[]()").split(","))
    except ValueError:
        raise UserError(f"cannot read {text!r}", key="guidance.interval", hint="write 0.1,0.9") from None
    return first, last


def read_guidance(options: argparse.Namespace, scale: float) -> Guidance:
    """The guidance at a scale, its runs found.

    Raises:
        UserError: If a value is out of its range, or there is no such run.
    """
    from fmlab.fields import Guidance
    from fmlab.inference.guides import resolve_guides

    values = {name: getattr(options, f"guidance_{name}") for name in OPTIONS}
    given = {name: value for name, value in values.items() if value is not None}
    if "interval" in given:
        given["interval"] = parse_interval(given["interval"])
    return resolve_guides(Guidance(scale, **given))
