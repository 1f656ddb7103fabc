"""A diagnosis as text: four parts with their figures, and a line for what cannot be known."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fmlab.diagnosis.diagnose import Diagnosis
from fmlab.diagnosis.distance import Distances, Value
from fmlab.diagnosis.memory import Neighbours
from fmlab.diagnosis.model import ModelError
from fmlab.diagnosis.solver import Converged, Need, SolverError
from fmlab.diagnosis.verdict import Findings
from fmlab.objectives import Mean


def report(diagnosis: Diagnosis) -> str:
    """The four parts, one below the other."""
    found, unknown = diagnosis.findings, diagnosis.unknown

    def reason(*names: str) -> list[str]:
        return [f"not known: {next(unknown[name] for name in names if name in unknown)}"]

    model = list(_model(found.model)) if found.model is not None else reason("model")
    if found.solver is not None and found.converged is not None:
        solver = list(_solver(found.solver, found.converged, found))
    else:
        solver = reason("solver", "converged")
    if found.distances is not None:
        distances = list(_distances(found.distances, found))
    else:
        distances = reason("distances", "samples", "converged")
    if found.neighbours is not None:
        neighbours = list(_neighbours(found.neighbours, found.images))
    else:
        neighbours = reason("neighbours", "samples", "converged")
    parts = {
        "a  model error: the loss that a perfect network would not have": model,
        "b  solver error: the way from a converged solve of the same field with the same seeds": solver,
        "c  distance from real data": distances,
        "d  memorisation: nearest training neighbours": neighbours,
    }
    return "\n\n".join("\n   ".join([title, *lines]) for title, lines in parts.items())


def _model(model: ModelError) -> Iterator[str]:
    columns = {name: model.means.by_bin(name) for name in ("loss", "floor", "excess")}
    overall = {name: model.means.overall(name) for name in columns}
    yield f"perfect: the exact field of {model.law}; {overall['loss'].draws:,} draws of training"
    yield f"{'t':12}{'loss':>9}{'floor':>9}{'excess':>18}{'of E|u|^2':>12}"
    for index, share in enumerate(model.relative_by_bin):
        row = {name: means[index] for name, means in columns.items()}
        mark = " most wrong" if index == model.worst else "" if model.undecided[index] else " example known"
        if row["loss"].draws:
            yield _row(model.bounds(index), row, share) + mark
    yield _row("all", overall, model.relative)
    if not all(model.undecided):
        yield "example known: the exact field already knows which training example it draws; a network that draws"
        yield "new ones has to differ there"


def _row(times: str, means: dict[str, Mean], share: float) -> str:
    excess = _pm(means["excess"].value, means["excess"].error)
    return f"{times:12}{means['loss'].value:9.4f}{means['floor'].value:9.4f}{excess:>18}{share:12.1%}"


def _solver(solver: SolverError, converged: Converged, found: Findings) -> Iterator[str]:
    scale, unit = (127.5, "/255") if found.images else (1.0, "")

    def shown(distance: float) -> str:
        return f"{scale * distance:.3g}{unit}"

    state = "within" if converged.settled else "not settled, only within"
    seeds = len(converged.samples)
    yield f"converged: Midpoint, {converged.steps} steps, {state} {shown(converged.bound)}; {seeds} seeds"
    own = solver.own
    share = f"{own.error / converged.spread:.1%} of the way to another sample"
    yield f"{found.solver_name}, {own.steps} steps, {own.nfe} forwards: {shown(own.error)} off an entry (RMS), {share}"
    if len(solver.scan) > 1:
        yield "it, by forwards: " + ", ".join(f"{solve.nfe}: {shown(solve.error)}" for solve in solver.scan)
    if solver.others:
        others = (f"{name} {shown(solve.error)} ({solve.nfe})" for name, solve in solver.others.items())
        yield f"others at no more forwards: {', '.join(others)}"
    limits = {
        shown(converged.unit) if found.images else "1/255 of the way to another sample": converged.unit,
        f"a tenth of the way to another sample ({shown(converged.spread / 10)})": converged.spread / 10,
    }
    for what, distance in limits.items():
        need = solver.need(distance)
        yield f"below {what}: {_words(need, solver)}"


def _words(need: Need | None, solver: SolverError) -> str:
    if need is None:
        return f"not within {max(solve.nfe for solve in solver.scan)} forwards"
    return (
        f"about {need.nfe} forwards, extrapolated" if need.how == "extrapolated" else f"{need.how} {need.nfe} forwards"
    )


def _distances(distances: Distances, found: Findings) -> Iterator[str]:
    yield f"{distances.key}, {distances.n} against {distances.n} real examples, the same for each row"
    rows = {
        "floor": "real against real, the floor",
        "converged": "this network, no solver error",
        "own": "this network, this sampler",
    }
    if found.other_scale is not None:
        rows["other"] = f"the same, guidance scale {found.other_scale:g}"
    for name, words in rows.items():
        value = distances.value(name)
        yield f"{words:32}{_pm(value.mean, value.error):>18}"
    parts = {"the network": distances.part("converged", "floor"), "the solver": distances.part("own", "converged")}
    yield "above the floor: " + ", ".join(f"{name} {_signed(part)}" for name, part in parts.items())


def _neighbours(neighbours: Neighbours, images: bool) -> Iterator[str]:
    found, unit = neighbours.summary, "/255" if images else ""
    yield f"medians: samples (no solver error) {found.distance:.3g}{unit}, new real examples {found.held_out:.3g}{unit}"
    yield f"ratio {_pm(found.ratio, found.ratio_error)} (0: copies, 1: new draws of the same law)"
    yield f"nearer than the first percentile of new examples: {found.share:.1%} ± {found.share_error:.1%} (1% expected)"


def _pm(value: float, error: float) -> str:
    """A value with its error: `0.1433 ± 0.0021`, `15.28 ± 0.12`."""
    if math.isnan(error):
        return f"{value:.3g}"
    digits = 4 if abs(value) < 1 else 3 if abs(value) < 10 else 2
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _signed(part: Value) -> str:
    return f"{part.mean:+.3g} ± {part.error:.2g}"
