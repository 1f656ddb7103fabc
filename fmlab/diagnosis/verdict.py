"""What to change first: the rules of `fmlab diagnose`, all of them, in the order in which they are asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmlab.diagnosis.distance import Distances, Value
from fmlab.diagnosis.memory import Neighbours
from fmlab.diagnosis.model import ModelError
from fmlab.diagnosis.solver import Converged, SolverError

# A sample in the middle that is less than half as far from the training set as a new real example is a copy of one.
# New draws of the same law have ratio 1. Strong guidance, which prefers typical images, lowers it, but real images
# have no neighbours at half the usual distance: such a sample was not found by being typical.
COPIES = 0.5
# As many samples nearer than the first percentile of new examples; 0.01 is expected. It finds a network that copies a
# part of its training set only, which the median does not see.
COPIED_SHARE = 0.25
# Solver and guidance cost no training, so they come first as soon as they bring a third of what is to be gained.
# The network comes first where they bring less.
WORTH_IT = 1 / 3
# A difference below twice its spread over splits of the real data may be chance.
CLEAR = 2.0
# Without a distance between sets, the solver counts as wrong when it moves a sample by a tenth of the way to another
# one, and the network when a tenth of the field itself (in squares) is wrong.
MOVED, WRONG = 0.1, 0.1
# Another solver is worth a word when it halves the error at the same cost.
BETTER_SOLVER = 0.5
# Training still pays if the excess fell by a twentieth from the third quarter to the last of the steps at a high
# learning rate: at that pace as many steps again gain about a fifth. A network whose excess stands still there needs
# more parameters, not more steps.
STILL_FALLS = 0.05

First = Literal["data", "solver", "guidance", "network", "nothing"]


@dataclass(frozen=True)
class Findings:
    """What the parts of a diagnosis found; None where a part cannot be known.

    Attributes:
        images: Whether samples are images.
        solver_name: The run's own solver.
        scale: Its guidance scale.
        other_scale: Another one that was tried, measured as `other` in the distances.
        falling: By what share the excess fell in the last quarter of training at a high learning rate.
    """

    images: bool
    solver_name: str
    scale: float
    other_scale: float | None
    model: ModelError | None
    converged: Converged | None
    solver: SolverError | None
    distances: Distances | None
    neighbours: Neighbours | None
    falling: float | None


@dataclass(frozen=True)
class Verdict:
    """What to change first, and why, in two sentences."""

    first: First
    text: str


def judge(found: Findings) -> Verdict:
    """Asks in turn: are the samples copies; does a distance say whose fault it is; and if there is none, do the errors
    of solver and network themselves?"""
    if _copies(found.neighbours):
        return Verdict("data", _about_copies(found))
    first = _by_distance(found) if found.distances is not None else _by_errors(found)
    sentences = {"solver": _about_solver, "guidance": _about_guidance, "network": _about_network}
    return Verdict(first, sentences.get(first, _about_nothing)(found))


def _copies(neighbours: Neighbours | None) -> bool:
    if neighbours is None:
        return False
    found = neighbours.summary
    by_median = found.ratio + CLEAR * found.ratio_error < COPIES
    return by_median or found.share - CLEAR * found.share_error > COPIED_SHARE


def _clear(part: Value) -> bool:
    return part.mean > CLEAR * part.error


def _by_distance(found: Findings) -> First:
    """Of what is above the floor, who has at least a third, cheapest first; the network has what is left."""
    distances = found.distances
    assert distances is not None
    above = distances.part("own", "floor")
    if not _clear(above):
        return "nothing"
    parts: dict[First, Value] = {"solver": distances.part("own", "converged")}
    if found.other_scale is not None:
        parts["guidance"] = distances.part("own", "other")
    worth = {name: part for name, part in parts.items() if _clear(part) and part.mean >= WORTH_IT * above.mean}
    return max(worth, key=lambda name: worth[name].mean) if worth else "network"


def _by_errors(found: Findings) -> First:
    if found.solver and found.converged and found.solver.own.error >= MOVED * found.converged.spread:
        return "solver"
    return "network" if found.model is not None and found.model.relative >= WRONG else "nothing"


# The sentences -------------------------------------------------------------------------------------------------------


def _about_copies(found: Findings) -> str:
    assert found.neighbours is not None
    summary = found.neighbours.summary
    return (
        f"Change the data first: the samples are copies, {summary.share:.0%} of them nearer to a training example than "
        f"99% of new real examples are, and the median one {summary.ratio:.2f} times as far from it as those. Train on "
        "more examples (or augment them), for fewer steps or with a smaller network; better numbers from this run "
        "would only be better copies."
    )


def _about_solver(found: Findings) -> str:
    solver, name = found.solver, found.solver_name
    if found.distances is not None:
        own, exact, floor = (found.distances.value(name).mean for name in ("own", "converged", "floor"))
        why = (
            f"{found.distances.key} falls from {own:.3g} to {exact:.3g} when the same network is solved without error "
        )
        why += f"(its floor is {floor:.3g})"
    else:
        assert solver is not None
        assert found.converged is not None
        why = f"it moves a sample by {solver.own.error / found.converged.spread:.0%} of the distance to another one"
    return f"Change the solver first: {why}. {_how_to_solve(solver, found.converged, name)}"


def _how_to_solve(solver: SolverError | None, converged: Converged | None, name: str) -> str:
    if solver is None or converged is None:
        return "Take more steps, or a solver of the ODE that adds no noise."
    best = min(solver.others, key=lambda other: solver.others[other].error, default=None)
    need = solver.need(converged.spread / 100)
    more = f"about {need.nfe} forwards" if need else f"many more than {solver.scan[-1].nfe} forwards"
    enough = f"{name} itself needs {more} for an error of a hundredth of the distance between samples."
    if best is None or solver.others[best].error > BETTER_SOLVER * solver.own.error:
        return f"Take more steps: {enough}"
    ratio = solver.own.error / solver.others[best].error
    return f"Take {best}, which is {ratio:.2g} times as accurate at the same cost, or more steps: {enough}"


def _about_guidance(found: Findings) -> str:
    distances = found.distances
    assert distances is not None
    own, other, floor = (distances.value(name).mean for name in ("own", "other", "floor"))
    return (
        f"Change the guidance first: {distances.key} is {own:.3g} at scale {found.scale:g} and {other:.3g} at scale "
        f"{found.other_scale:g} (its floor is {floor:.3g}). That costs no training: try a few scales, with "
        "fmlab evaluate RUN --guidance.scale 1,1.5,2,3."
    )


def _about_network(found: Findings) -> str:
    why, how = "", "Train longer, or take a larger network"
    if found.distances is not None:
        own, floor = found.distances.value("own").mean, found.distances.value("floor").mean
        left = found.distances.value("converged").mean
        why = f"{found.distances.key} is {own:.3g}, and still {left:.3g} without any solver error (its floor is "
        why += f"{floor:.3g})"
    elif found.model is not None:
        why = f"its squared error is {found.model.relative:.0%} of the square of the field it should follow"
    if found.falling is not None and found.falling >= STILL_FALLS:
        how = f"Train longer first (at a high learning rate the last quarter still took {found.falling:.0%} off the "
        how += "excess loss), then take a larger network"
    elif found.falling is not None:
        how = "Take a larger network first (the loss stood still, also at a high learning rate), then train longer"
    where = ""
    if found.model is not None and found.model.worst is not None:
        worst = found.model.worst
        where = f"; it is most wrong at t from {found.model.bounds(worst)}, "
        where += f"where its squared error is {found.model.relative_by_bin[worst]:.0%} of the field's own square"
    return f"Change the network first: {why}. {how}{where}."


def _about_nothing(found: Findings) -> str:
    kind = "images" if found.images else "points"
    if found.distances is None:
        return (
            "Nothing stands out: neither network nor solver is far off, as far as that can be known here. "
            "Measure samples against real ones to see more, with fmlab evaluate RUN."
        )
    own, floor = found.distances.value("own"), found.distances.value("floor")
    return (
        f"Nothing stands out: {found.distances.key} is {own.mean:.3g}, and real {kind} among themselves are at "
        f"{floor.mean:.3g} (± {CLEAR * max(own.error, floor.error):.2g}). Only more samples would show a difference "
        "(--n), and only more data would make the network better."
    )
