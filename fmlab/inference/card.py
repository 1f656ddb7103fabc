"""The model card beside an exported file: Markdown with a front matter that the Hugging Face hub reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fmlab.config.classes import is_safe_path
from fmlab.inference.exported import Exported, class_paths


def model_card(record: Exported, file: Path) -> str:
    """The text of an exported file's card: what it is, how to load it, scores, and everything they depend on."""
    sections = [
        f"---\n{_yaml(front_matter(record))}---",
        f"# {record.name}",
        _about(record),
        "## How to load",
        _loading(record, file.name),
    ]
    if record.scores:
        rows = [f"| {name} | {value:.6g} |" for name, value in sorted(record.scores.items())]
        sections += ["## Scores", "\n".join(["| metric | value |", "| --- | --- |", *rows])]
    for title, about, content in (
        ("Measurement", "How the scores were measured: others compare only if this is the same.", record.measurement),
        ("Setting", "How the scores' samples were made.", record.setting),
        ("Configuration", f"Of run {record.run}." if record.run else "", record.config or {"model": record.model}),
        ("Versions", "", record.versions),
    ):
        if content:
            sections += [f"## {title}", *([about] if about else []), f"```yaml\n{_yaml(content)}```"]
    return "\n\n".join(sections) + "\n"


def front_matter(record: Exported) -> dict[str, Any]:
    """The card's metadata, by the names of the Hugging Face hub's model cards."""
    task = "unconditional-image-generation" if len(record.shape) == 3 else "other"
    matter: dict[str, Any] = {"library_name": "fmlab", "tags": ["flow-matching", "diffusion"], "pipeline_tag": task}
    if record.scores:
        data = str((record.data or {}).get("class_path", "unknown")).rpartition(".")[2]
        metrics = [{"type": name.rpartition("/")[2], "value": value} for name, value in sorted(record.scores.items())]
        result = {"task": {"type": task}, "dataset": {"name": data, "type": data.lower()}, "metrics": metrics}
        matter["model-index"] = [{"name": record.name, "results": [result]}]
    return matter


def _about(record: Exported) -> str:
    prediction = record.prediction
    output = prediction["class_path"] if isinstance(prediction, dict) else prediction
    classes = f", with {record.num_classes} classes" if record.num_classes is not None else ""
    steps = f", after {record.step} optimizer steps" if record.step is not None else ""
    shape = " x ".join(str(size) for size in record.shape)
    return (
        f"A generative model of samples of shape {shape}{classes}, on the path `{record.path}`; its network outputs: "
        f"{output}.\nWeights: {record.weights}{steps}."
    )


def _loading(record: Exported, name: str) -> str:
    labels = "labels=[0, 1]" if (record.num_classes or 0) > 1 else "16"
    paths = dict.fromkeys(path for _, path in class_paths(record.model, "model"))
    own_classes = [f"`{path}`" for path in paths if not is_safe_path(path)]
    argument, option = (", trust=True", " --trust") if own_classes else ("", "")
    load = f'trained = fmlab.load("{name}"{argument})'
    lines = [
        f"```python\nimport fmlab\n\n{load}\nsamples = trained.generate({labels}, steps=20)\n```",
        f"```sh\nfmlab sample {name} --solver Heun --steps 20{option}\n```",
    ]
    if own_classes:
        names = ", ".join(own_classes)
        lines.append(f"It needs modules that do not come with fmlab; put them beside the file: {names}.")
    return "\n\n".join(lines)


def _yaml(content: Any) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000))
