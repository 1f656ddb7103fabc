"""Which runs belong together, what differs between them, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.written_runs import MEASUREMENT, config, write_run

from fmlab.comparison import compare, find_runs
from fmlab.comparison.configs import differing_keys, flatten_config, label
from fmlab.comparison.costs import read_costs
from fmlab.comparison.metrics import side
from fmlab.comparison.runs import read_run
from fmlab.comparison.sentences import describe_standing
from fmlab.errors import UserError
from fmlab.metrics.registry import output_sides


def test_flags_are_what_a_user_would_type() -> None:
    flags = flatten_config(config("VP", 3))
    assert flags["model.path"] == "VP"
    assert flags["model.network"] == "DiT"
    assert flags["model.network.width"] == 128
    assert flags["model.optimizer.lr"] == 0.001
    assert flags["seed_everything"] == 3
    assert "model.seed" not in flags, "it is the run's own"
    own = {"seed_everything": 3, "model": {"class_path": "my.Net", "init_args": {"seed": 4}}}
    assert flatten_config(own)["model.seed"] == 4


def test_only_what_differs_differs() -> None:
    plain = flatten_config({"path": {"class_path": "CondOT"}, "ema": {"decay": 0.9}, "width": 3})
    other = flatten_config({"path": {"class_path": "VP", "init_args": {"beta_max": 12.0}}, "ema": None, "width": 3.0})
    assert differing_keys([plain, other]) == ["path", "ema"], "arguments come with their class, and 3 is 3.0"
    third = flatten_config({"path": {"class_path": "VP", "init_args": {"beta_max": 20.0}}, "ema": None, "width": 3})
    assert differing_keys([plain, other, third]) == ["path", "ema", "path.beta_max"]
    fourth = flatten_config({"path": {"class_path": "VP"}, "ema": None, "width": 3})
    assert differing_keys([other, fourth]) == ["path.beta_max"], "of one class, an argument that is left out differs"
    assert differing_keys([flatten_config({"floor": {}}), flatten_config({})]) == ["floor"]
    assert differing_keys([flatten_config({"floor": None}), flatten_config({})]) == []
    assert label(third, ["path", "path.beta_max"]) == "path=VP, path.beta_max=20"


def test_runs_that_differ_only_in_seed_are_a_group(tmp_path: Path) -> None:
    for path in ("CondOT", "VP"):
        for seed in range(3):
            write_run(tmp_path, 1.0 + seed, path=path, seed=seed)
    write_run(tmp_path, 9.0, seed=0, experiment="other")
    comparison = compare([tmp_path / "made", tmp_path / "other"])
    labels = [group.label for group in comparison.groups]
    assert labels == ["made: path=CondOT", "made: path=VP", "other: path=CondOT"]
    assert [[member.run.seed for member in group.members] for group in comparison.groups] == [[0, 1, 2], [0, 1, 2], [0]]
    assert comparison.keys == ["model.path"]
    assert comparison.metric == "val/fid_domain"
    assert comparison.groups[0].values("val/fid_domain", "final") == {0: 1.0, 1: 2.0, 2: 3.0}
    assert comparison.groups[0].values("val/fid_domain", "best")[0] == pytest.approx(0.99)
    score = comparison.groups[0].members[0].scores["val/fid_domain"]
    assert score.best_step == 799, "the last validation but one"


def test_only_finished_runs_count_and_of_repeated_ones_the_last(tmp_path: Path) -> None:
    write_run(tmp_path, 5.0, seed=0, run_id="20260101-000000-aaaa")
    layout = write_run(tmp_path, 1.0, seed=0, run_id="20260102-000000-bbbb")
    layout.meta.write_text(layout.meta.read_text().replace("T00:00:00", "T01:00:00"))
    write_run(tmp_path, 0.1, seed=1, state="failed")
    write_run(tmp_path, 0.2, seed=2, state="interrupted")
    (group,) = compare(tmp_path / "made").groups
    assert group.values("val/fid_domain", "final") == {0: 1.0}
    assert [member.run.status.state for member in group.members] == ["done", "done", "failed", "interrupted"]


def test_different_measurements_are_not_ranked_together(tmp_path: Path) -> None:
    """The group of the lower number was measured with other samples; it is no winner, and the refusal says why."""
    for seed in range(6):
        write_run(tmp_path, 2.0 + 0.01 * seed**2, path="CondOT", seed=seed)
        write_run(tmp_path, 3.0 - 0.01 * seed, path="Cosine", seed=seed)
        write_run(tmp_path, 1.0, path="VP", seed=seed, measurement={**MEASUREMENT, "samples": 50})
        write_run(tmp_path, 0.5, path="VE", seed=seed, measurement=None)
    comparison = compare(tmp_path / "made")
    first, *others = comparison.standings("val/fid_domain", "final")
    assert [comparison.groups[index].flags["model.path"] for index in first.groups] == ["CondOT", "Cosine"]
    assert first.ranking is not None
    assert first.ranking.winner
    assert [comparison.groups[index].flags["model.path"] for one in others for index in one.groups] == ["VP", "VE"]
    assert "samples generated (1000 against 50)" in others[0].apart
    assert "is not recorded" in others[1].apart
    assert describe_standing(comparison, "val/fid_domain", "final", first).startswith("path=CondOT is the best, 2.0")
    assert "no other group to compare it with" in describe_standing(comparison, "val/fid_domain", "final", others[0])


def test_losses_of_different_paths_are_different_quantities(tmp_path: Path) -> None:
    for path, width in (("CondOT", 64), ("CondOT", 128), ("VP", 64)):
        write_run(tmp_path, 1.0, configuration=config(path, 0, width=width))
    standings = compare(tmp_path / "made").standings("val/loss", "final")
    assert [len(one.groups) for one in standings] == [2, 1]
    assert "objective.model.path (CondOT against VP)" in standings[1].apart
    assert len(compare(tmp_path / "made").standings("val/fid_domain", "final")) == 1


def test_evaluations_are_metrics_too(tmp_path: Path) -> None:
    write_run(tmp_path, 1.0, seed=0, nfe=(5, 10))
    comparison = compare(tmp_path / "made")
    name = "evaluate: fid_domain (Euler(), 5 steps, w 2, 1000 samples)"
    assert name in comparison.metrics
    assert comparison.groups[0].values(name, "final") == {0: 3.0}
    assert comparison.better[name] == "less"


def test_evaluations_along_another_path_are_other_numbers(tmp_path: Path) -> None:
    layout = write_run(tmp_path, 1.0, nfe=(5,))
    record = layout.root / "measurement.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "setting": {**content["setting"], "path": "CondOT()"}}))
    rows = layout.root / "evaluations" / "fid" / "rows.jsonl"
    row = json.loads(rows.read_text())
    lines = [{**row, "setting": {**row["setting"], "path": path}} for path in ("CondOT()", "VP()")]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    names = [name for name in compare(layout.root).metrics if name.startswith("evaluate")]
    assert names == [
        "evaluate: fid_domain (Euler(), 5 steps, w 2, 1000 samples)",
        "evaluate: fid_domain (Euler(), 5 steps, VP(), w 2, 1000 samples)",
    ]


def test_which_side_is_better() -> None:
    for output, better in output_sides().items():
        assert side(f"val/{output}_domain") == better
    assert side("val/loss") == side("val/w2") == side("train/excess") == "less"
    assert side("train/lr") is None
    assert side("val/isotropy") is None, "a name that begins like another one"


def test_a_metric_of_ones_own_is_ranked_as_its_checkpoints_are(tmp_path: Path) -> None:
    own: dict[str, Any] = {**config("CondOT", 0), "checkpoint": {"monitor": "val/mine", "mode": "max"}}
    run = read_run(write_run(tmp_path, 1.0, configuration=own))
    assert side("val/mine", [run]) == "more"
    assert side("val/mine") is None


def test_costs_of_a_run(tmp_path: Path) -> None:
    costs = read_costs(read_run(write_run(tmp_path, 1.0)))
    assert costs.steps == 1000
    assert costs.images == 64_000
    assert costs.flops == 3 * 25e6 * 64_000
    assert costs.seconds == pytest.approx(70.0)
    assert (costs.images_per_second, costs.memory_gib, costs.gpu_memory_gib) == (900.0, 1.25, None)


def test_how_runs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ids = [write_run(tmp_path / "runs", 1.0, seed=seed).id for seed in range(2)]
    (tmp_path / "runs" / "made" / "sweep.db").write_text("")
    everything = [str(path) for path in (tmp_path / "runs" / "made").iterdir()]
    for names in ("made", "runs/made", "runs/made/*", "made/*", everything, [f"runs/made/{name}" for name in ids]):
        assert sorted(layout.id for layout in find_runs(names)) == sorted(ids), names
    assert [layout.id for layout in find_runs([ids[0], f"runs/made/{ids[0]}"])] == [ids[0]]
    for names, expected in (("mad", "made"), ("runs/mode/*", "matches nothing"), ([], "which runs")):
        with pytest.raises(UserError) as caught:
            find_runs(names)
        assert expected in str(caught.value)


def test_torn_records_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    layout = write_run(tmp_path, 1.0, nfe=(5,))
    layout.metrics.write_text(layout.metrics.read_text()[:-5])
    layout.meta.write_text("{")
    (layout.root / "measurement.json").write_text("")
    (layout.root / "evaluations" / "fid" / "rows.jsonl").write_text("{}\nnonsense\n")
    run = read_run(layout)
    assert run.meta == {}
    assert run.rows == []
    assert run.curves["val/fid_domain"].steps[-1] == 799, "the torn line is none"
    layout.starts.mkdir()
    nested = '{"a": ' * 900 + "1" + "}" * 900
    for number, content in enumerate(("{", "[]", *2 * (f'{{"step": 0, "config": {nested}}}',))):
        (layout.starts / f"{number:04d}.json").write_text(content)
    assert "changed" not in read_run(layout).flags
    layout.metrics.unlink()
    assert compare(layout.root).metrics == []
    layout.config.write_text("a: [")
    with pytest.raises(UserError, match=r"config.yaml:\d: did not find expected node content"):
        read_run(layout)
