"""A diagnosis as text, and as files: its figure, its nearest neighbours, and its record as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from fmlab.data import TensorSet
from fmlab.diagnosis.diagnose import Diagnosis
from fmlab.diagnosis.distance import Distances
from fmlab.diagnosis.figure import draw_diagnosis
from fmlab.diagnosis.memorisation import Neighbours
from fmlab.diagnosis.model import ModelError
from fmlab.diagnosis.solver import Converged, Need, SolverError
from fmlab.diagnosis.subject import Subject
from fmlab.diagnosis.verdict import Findings
from fmlab.figures import neighbours_picture, save_png
from fmlab.objectives import Mean
from fmlab.records import RunLayout, atomic_write_json

BETWEEN = "the distance between two samples"
PAIRS_SHOWN = 12
WIDTH = 100
Checkpoint = Mapping[str, Any]
"""Which weights are diagnosed: `which` checkpoint, its `step`, and `weights`, averaged or raw."""


def describe_subject(run: RunLayout, subject: Subject, checkpoint: Checkpoint) -> str:
    """Says in a line what is diagnosed."""
    sampling = subject.sampling
    along = f" along {sampling.path!r}" if sampling.path else ""
    guidance = f", guidance scale {subject.guidance_scale:g}" if subject.module.num_classes is not None else ""
    sampler = f"{sampling.solver!r}, {sampling.steps} steps of {sampling.grid!r}{along}{guidance}"
    return f"{run.experiment}/{run.id}, step {checkpoint['step']:,}, {checkpoint['weights']} weights; {sampler}"


def write_files(diagnosis: Diagnosis, subject: Subject, run: RunLayout, checkpoint: Checkpoint) -> dict[str, Path]:
    """Writes figure, nearest neighbours and record to `diagnosis/` in the run's folder; returns the files by kind."""
    sampling, step = subject.sampling, checkpoint["step"]
    path = f"_{type(sampling.path).__name__}" if sampling.path else ""
    raw = "_raw" if checkpoint["weights"] == "raw" else ""
    name = f"{type(sampling.solver).__name__}{sampling.steps}{path}_w{subject.guidance_scale:g}_step{step}{raw}"
    files = {"figure": run.root / "diagnosis" / f"{name}.png"}
    save_png(draw_diagnosis(diagnosis, describe_subject(run, subject, checkpoint)), files["figure"])
    neighbours = diagnosis.findings.neighbours
    if neighbours is not None and subject.images:
        files["neighbours"] = files["figure"].with_name(f"{name}_neighbours.png")
        # From the nearest pair to the farthest: a network that copies a part of its training set shows it on the left.
        ranks = torch.linspace(0, len(neighbours.distances) - 1, PAIRS_SHOWN).long().unique()
        rows = neighbours.distances.argsort()[ranks]
        pairs = (neighbours.samples[rows], neighbours.nearest[rows], neighbours.distances[rows])
        save_png(neighbours_picture(*pairs), files["neighbours"])
    files["record"] = files["figure"].with_suffix(".json")
    atomic_write_json(files["record"], {"setting": _setting(subject, checkpoint), **diagnosis.record()})
    return files


def _setting(subject: Subject, checkpoint: Checkpoint) -> dict[str, Any]:
    """How the samples were made, and of what: settings may differ within a comparison."""
    sampling, data = subject.sampling, subject.data
    # Files are hashed by reading them all; a set in memory is hashed at once.
    content = data.reference_hash() if isinstance(data.split(data.reference), TensorSet) else None
    return {
        "checkpoint": dict(checkpoint),
        "solver": repr(sampling.solver),
        "grid": repr(sampling.grid),
        "path": repr(sampling.path or subject.module.path),
        "steps": sampling.steps,
        "guidance_scale": subject.guidance_scale,
        "seeds": [subject.seed, subject.seed + subject.n - 1],
        "precision": subject.precision,
        "data": {"name": type(data).__name__, "reference": data.reference, "hash": content},
    }


def write_report(diagnosis: Diagnosis) -> str:
    """Writes the four parts, one below the other."""
    findings, parts = diagnosis.findings, {}
    if findings.model is not None:
        parts["model"] = _model_lines(findings.model)
    if findings.solver is not None and findings.converged is not None:
        parts["solver"] = _solver_lines(findings.solver, findings.converged, findings)
    if findings.distances is not None:
        parts["distances"] = _distance_lines(findings.distances, findings)
    if findings.neighbours is not None:
        parts["neighbours"] = _neighbour_lines(findings.neighbours, findings.images)
    titles = {
        "model": "a  model error: how much more the network loses than the exact field",
        "solver": "b  solver error: how far samples are from a converged solve of the same field with the same seeds",
        "distances": "c  distance from real data",
        "neighbours": "d  memorisation: nearest training neighbours",
    }
    sections = []
    for name, title in titles.items():
        lines = parts.get(name, [f"not known: {diagnosis.reason(name)}"])
        sections.append([title, *(f"   {part}" for line in lines for part in textwrap.wrap(line, WIDTH) or [line])])
    return "\n\n".join("\n".join(lines) for lines in sections)


def _model_lines(model: ModelError) -> Iterator[str]:
    columns = {name: model.means.by_bin(name) for name in ("loss", "floor", "excess")}
    overall = {name: model.means.overall(name) for name in columns}
    yield f"The exact field is that of {model.law}. Means are over {overall['loss'].draws:,} draws of training."
    yield f"{'t':12}{'loss':>9}{'floor':>9}{'excess':>18}{'of E|u|^2':>12}"
    for index, share in enumerate(model.relative_by_bin):
        row = {name: means[index] for name, means in columns.items()}
        mark = "  largest error" if index == model.worst else "" if model.undecided[index] else "  *"
        if row["loss"].draws:
            yield _model_row(model.bounds(index), row, share) + mark
    yield _model_row("all", overall, model.relative)
    yield "The floor is the loss of the exact field, and the excess is what the network loses beyond it."
    if not all(model.undecided):
        yield (
            "* Here the exact field already leads to one training example. A network that makes new examples has to "
            "differ from it, so an excess at these times is no fault."
        )


def _model_row(times: str, means: dict[str, Mean], share: float) -> str:
    excess = _with_error(means["excess"].value, means["excess"].error)
    return f"{times:12}{means['loss'].value:9.4f}{means['floor'].value:9.4f}{excess:>18}{share:12.1%}"


def _solver_lines(solver: SolverError, converged: Converged, findings: Findings) -> Iterator[str]:
    scale, unit, entry = (127.5, "/255", "pixel") if findings.images else (1.0, "", "coordinate")

    def show(distance: float) -> str:
        return f"{scale * distance:.3g}{unit}"

    own, name = solver.own, findings.solver_name
    quality = "" if converged.settled else ", which is not converged yet"
    yield (
        f"The converged solve takes {converged.steps} midpoint steps from {len(converged.samples)} seeds. Half as many "
        f"steps end {show(converged.bound)} away{quality}."
    )
    yield (
        f"{name} with {own.steps} steps ({own.nfe} forwards) has an error of {show(own.error)} per {entry} (root mean "
        f"square), which is {own.error / converged.spread:.1%} of {BETWEEN}."
    )
    scan = [f"{show(solve.error)} with {solve.nfe}" for solve in solver.scan if solve != own]
    if scan:
        yield f"With other numbers of forwards its error is {', '.join(scan)}."
    if solver.others:
        others = (f"{other} {show(solve.error)} with {solve.nfe}" for other, solve in solver.others.items())
        yield f"Other solvers at no more forwards: {', '.join(others)}."
    limits = {
        show(converged.unit) if findings.images else f"1/255 of {BETWEEN}": converged.unit,
        f"a tenth of {BETWEEN}, {show(converged.spread / 10)}": converged.spread / 10,
    }
    for limit, distance in limits.items():
        yield f"{_need_text(solver.need(distance), name, solver)} an error below {limit}."


def _need_text(need: Need | None, name: str, solver: SolverError) -> str:
    if need is None:
        return f"{name} needs more than {max(solve.nfe for solve in solver.scan)} forwards for"
    how, after = ("about", " (extrapolated)") if need.how == "extrapolated" else (need.how, "")
    return f"{name} needs {how} {need.nfe} forward{'s' * (need.nfe > 1)}{after} for"


def _distance_lines(distances: Distances, findings: Findings) -> Iterator[str]:
    n, kind = distances.n, "images" if findings.images else "points"
    yield f"{distances.key} between {n} samples and {n} real {kind}, the same for each row:"
    rows = {
        "real": f"other real {kind} (real-vs-real)",
        "converged": "samples without solver error",
        "own": "samples of this run's sampler",
    }
    if findings.other_scale is not None:
        rows["other"] = f"the same, guidance scale {findings.other_scale:g}"
    for name, label in rows.items():
        value = distances.value(name)
        yield f"{label:34}{_with_error(value.mean, value.error):>18}"
    network, solver = distances.part("converged", "real"), distances.part("own", "converged")
    yield (
        f"Compared with real-vs-real, the network adds {network.mean:+.3g} ± {network.error:.2g} and the solver "
        f"{solver.mean:+.3g} ± {solver.error:.2g}."
    )


def _neighbour_lines(neighbours: Neighbours, images: bool) -> Iterator[str]:
    summary, unit = neighbours.summary, "/255" if images else ""
    yield (
        f"The median distance to the nearest training example is {summary.distance:.3g}{unit} for samples without "
        f"solver error, and {summary.held_out:.3g}{unit} for real examples that training did not see. The ratio is "
        f"{_with_error(summary.ratio, summary.ratio_error)}. It is 0 for copies, and 1 for new draws of the same law."
    )
    yield (
        f"{summary.share:.1%} ± {summary.share_error:.1%} of the samples are nearer to a training example than 99% of "
        "the unseen real examples; 1% is expected."
    )


def _with_error(value: float, error: float) -> str:
    """A value with its error: `0.1433 ± 0.0021`, `15.28 ± 0.12`."""
    if math.isnan(error):
        return f"{value:.3g}"
    digits = 4 if abs(value) < 1 else 3 if abs(value) < 10 else 2
    return f"{value:.{digits}f} ± {error:.{digits}f}"
