"""The models that a guidance names, as text: a weaker network, a classifier of noisy points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fmlab.fields import Guidance
from fmlab.inference.exported import is_exported
from fmlab.records import find_run


@dataclass(frozen=True)
class RunWeights:
    """Which weights of which run: what RUN, RUN@last, RUN@raw and RUN@FILE@raw say.

    Attributes:
        run: The run's folder, its id, or an experiment's name (its newest run); or an exported file.
        checkpoint: `best`, `last` or a file.
        weights: The averaged weights or the trained ones as they are.
    """

    run: str
    checkpoint: str = "best"
    weights: Literal["averaged", "raw"] = "averaged"

    @classmethod
    def parse(cls, text: str) -> RunWeights:
        """Reads the parts between the `@`; `raw` means the weights, any other a checkpoint."""
        if Path(text).is_dir() or is_exported(text):
            return cls(text)
        run, *parts = text.split("@")
        checkpoint = next((part for part in parts if part != "raw"), cls.checkpoint)
        return cls(run, checkpoint, "raw" if "raw" in parts else "averaged")

    def __str__(self) -> str:
        if is_exported(self.run):  # which leaves nothing to choose
            return self.run
        return "@".join([self.run, self.checkpoint, *(["raw"] if self.weights == "raw" else [])])


def resolve_guides(guidance: Guidance) -> Guidance:
    """The guidance with every run by its folder and its checkpoint, for a record: a name's newest run may change.

    Raises:
        UserError: If there is no such run or checkpoint.
    """

    def resolve(text: str | None) -> str | None:
        if text is None:
            return None
        choice = RunWeights.parse(text)
        if is_exported(choice.run):
            return str(Path(choice.run).resolve())
        layout = find_run(choice.run)
        layout.checkpoint(choice.checkpoint)
        return str(replace(choice, run=str(layout.root)))

    return replace(guidance, weak=resolve(guidance.weak), classifier=resolve(guidance.classifier))
