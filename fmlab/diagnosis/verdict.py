"""What to change first: all rules of `fmlab diagnose`, in the order in which they apply, and their sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmlab.diagnosis.distance import Distances, SplitMean
from fmlab.diagnosis.memorisation import Neighbours
from fmlab.diagnosis.model import ModelError
from fmlab.diagnosis.solver import Converged, SolverError

# If the median sample is less than half as far from the training set as an unseen real example, samples are copies.
# New draws of the same law have ratio 1. Strong guidance, which prefers typical images, lowers it, but real images
# have no neighbours at half the usual distance, however typical they are.
COPIES = 0.5
# So large a share of samples nearer than the first percentile of unseen examples, where 0.01 is expected: it finds a
# network that copies only a part of its training set, which the median does not show.
COPIED_SHARE = 0.25
# Solver and guidance cost no training, so they come first as soon as they bring a third of what is to be gained.
# The network comes first where they bring less.
WORTH_IT = 1 / 3
# A difference below twice its spread over splits of the real data may be chance.
CLEAR = 2.0
# Without a distance between sets, the solver counts as wrong when it moves a sample by a tenth of the way to another
# one, and the network when a tenth of the field itself (in squares) is wrong.
MOVED, WRONG = 0.1, 0.1
# Another solver is recommended if it halves the error at the same cost.
BETTER_SOLVER = 0.5
# Training still pays if the excess fell by a twentieth from the third quarter to the last of the steps at a high
# learning rate: at that pace as many steps again gain about a fifth. A network whose excess no longer falls there
# needs more parameters, not more steps.
STILL_FALLS = 0.05

First = Literal["data", "solver", "guidance", "network", "nothing"]


@dataclass(frozen=True)
class Findings:
    """The results of the parts of a diagnosis; None where a part cannot be known.

    Attributes:
        scale: The run's guidance scale.
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
    """What to change first, why, and the next step."""

    first: First
    text: str


def judge(findings: Findings) -> Verdict:
    """Decides what to change first: data that are copied; else what a distance from real data blames; without a
    distance, the larger error."""
    first: First = "data"
    if not _are_copies(findings.neighbours):
        first = _first_by_distance(findings) if findings.distances is not None else _first_by_errors(findings)
    texts = {"data": _data_text, "solver": _solver_text, "guidance": _guidance_text, "network": _network_text}
    return Verdict(first, texts.get(first, _nothing_text)(findings))


def _are_copies(neighbours: Neighbours | None) -> bool:
    if neighbours is None:
        return False
    summary = neighbours.summary
    by_median = summary.ratio + CLEAR * summary.ratio_error < COPIES
    return by_median or summary.share - CLEAR * summary.share_error > COPIED_SHARE


def _is_clear(part: SplitMean) -> bool:
    return part.mean > CLEAR * part.error


def _first_by_distance(findings: Findings) -> First:
    """Of the distance beyond real-vs-real, names who has at least a third, the largest first; else the network."""
    distances = findings.distances
    assert distances is not None
    excess = distances.part("own", "real")
    if not _is_clear(excess):
        return "nothing"
    parts: dict[First, SplitMean] = {"solver": distances.part("own", "converged")}
    if findings.other_scale is not None:
        parts["guidance"] = distances.part("own", "other")
    worth = {name: part for name, part in parts.items() if _is_clear(part) and part.mean >= WORTH_IT * excess.mean}
    return max(worth, key=lambda name: worth[name].mean) if worth else "network"


def _first_by_errors(findings: Findings) -> First:
    solver, converged = findings.solver, findings.converged
    if solver and converged and solver.own.error >= MOVED * converged.spread:
        return "solver"
    return "network" if findings.model is not None and findings.model.relative >= WRONG else "nothing"


# The sentences -------------------------------------------------------------------------------------------------------


def _data_text(findings: Findings) -> str:
    assert findings.neighbours is not None
    summary = findings.neighbours.summary
    return (
        f"Change the data first: the samples are copies of training examples. {summary.share:.0%} of them are nearer "
        "to a training example than 99% of unseen real examples are, and their median distance is "
        f"{summary.ratio:.2f} times that of unseen ones. Train on more examples or augment them, take fewer steps, or "
        "use a smaller network. Until then, better numbers of this run would only mean better copies."
    )


def _solver_text(findings: Findings) -> str:
    solver, converged, name = findings.solver, findings.converged, findings.solver_name
    if findings.distances is not None:
        own, exact, real = (findings.distances.value(set_name).mean for set_name in ("own", "converged", "real"))
        reason = (
            f"{findings.distances.key} falls from {own:.3g} to {exact:.3g} when the same network is solved without "
        )
        reason += f"error, and real data reach {real:.3g}"
    else:
        assert solver is not None
        assert converged is not None
        reason = f"it moves a sample by {solver.own.error / converged.spread:.0%} of the distance between two samples"
    return f"Change the solver first: {reason}. {_solver_step(solver, converged, name)}"


def _solver_step(solver: SolverError | None, converged: Converged | None, name: str) -> str:
    if solver is None or converged is None:
        return "Take more steps, or use an ODE solver, which adds no noise."
    best = min(solver.others, key=lambda other: solver.others[other].error, default=None)
    need = solver.need(converged.spread / 100)
    cost = f"about {need.nfe} forwards" if need else f"many more than {solver.scan[-1].nfe} forwards"
    enough = f"{name} needs {cost} for an error of a hundredth of the distance between two samples."
    if best is None or solver.others[best].error > BETTER_SOLVER * solver.own.error:
        return f"Take more steps: {enough}"
    ratio = solver.own.error / solver.others[best].error
    return f"Use {best}, which is {ratio:.2g} times as accurate at the same cost, or take more steps: {enough}"


def _guidance_text(findings: Findings) -> str:
    assert findings.distances is not None
    own, other, real = (findings.distances.value(name).mean for name in ("own", "other", "real"))
    return (
        f"Change the guidance first: {findings.distances.key} is {own:.3g} at scale {findings.scale:g} and {other:.3g} "
        f"at scale {findings.other_scale:g}, and real data reach {real:.3g}. This needs no training: compare a few "
        "scales, with fmlab evaluate RUN --guidance.scale 1,1.5,2,3."
    )


def _network_text(findings: Findings) -> str:
    reason, step, where = "", "Train longer, or use a larger network.", ""
    if findings.distances is not None:
        own, exact, real = (findings.distances.value(name).mean for name in ("own", "converged", "real"))
        reason = f"{findings.distances.key} is {own:.3g}, and it stays at {exact:.3g} without solver error, while real "
        reason += f"data reach {real:.3g}"
    elif findings.model is not None:
        reason = f"its squared error is {findings.model.relative:.0%} of the squared velocity that it should predict"
    if findings.falling is not None and findings.falling >= STILL_FALLS:
        step = "Train longer first: at a high learning rate, the last quarter of training still took "
        step += f"{findings.falling:.0%} off the excess loss. Then use a larger network."
    elif findings.falling is not None:
        step = "Use a larger network first: the loss no longer fell, even at a high learning rate. Then train longer."
    if findings.model is not None and findings.model.worst is not None:
        worst = findings.model.worst
        where = f" The network is most wrong at t from {findings.model.bounds(worst)}, where its squared error is "
        where += f"{findings.model.relative_by_bin[worst]:.0%} of the squared velocity."
    return f"Change the network first: {reason}.{where} {step}"


def _nothing_text(findings: Findings) -> str:
    if findings.distances is None:
        return (
            "Nothing stands out: the errors of network and solver are small, as far as they can be known here. To see "
            "more, compare samples with real data, with fmlab evaluate RUN."
        )
    own, real = findings.distances.value("own"), findings.distances.value("real")
    return (
        f"Nothing stands out: {findings.distances.key} is {own.mean:.3g} for samples, and real data reach "
        f"{real.mean:.3g} (± {CLEAR * max(own.error, real.error):.2g}). Take more samples (--num_samples) to see "
        "smaller differences, and more data to improve the network."
    )
