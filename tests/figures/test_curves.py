"""Curves of quality: panels, scales, colours."""

from __future__ import annotations

import numpy as np
import pytest

from fmlab.figures import QualityCurve, draw_curves
from fmlab.figures.canvas import LINE_COLOURS


def picture(*panels: dict[str, QualityCurve], real: float | None = None, less: bool = True) -> np.ndarray:
    return draw_curves(
        {str(n): lines for n, lines in enumerate(panels)}, "t", "x", "y", log_x=True, real=real, less_is_better=less
    )


def has(drawn: np.ndarray, colour: str) -> bool:
    rgb = np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)])
    return bool((drawn == rgb).all(-1).any())


def test_a_name_has_one_colour_in_every_panel() -> None:
    both = {"a": QualityCurve([1, 2], [1, 2]), "b": QualityCurve([1, 2], [2, 1])}
    drawn = picture(both, {"b": QualityCurve([1, 4], [2, 1])})
    middle = drawn.shape[1] // 2
    upper = drawn[: int(drawn.shape[0] * 0.8)]  # without the legend
    assert has(upper[:, :middle], LINE_COLOURS[0])
    assert has(upper[:, :middle], LINE_COLOURS[1])
    assert not has(upper[:, middle:], LINE_COLOURS[0])
    assert has(upper[:, middle:], LINE_COLOURS[1])


def test_panels_stand_side_by_side_and_then_below() -> None:
    line = {"a": QualityCurve([1, 2], [1, 2], spread=[0.1, 0.1])}
    one, four, five = (picture(*[line] * count) for count in (1, 4, 5))
    assert one.dtype == np.uint8
    assert four.shape[1] > 2 * one.shape[1]
    assert five.shape[1] == four.shape[1]
    assert five.shape[0] > 1.5 * four.shape[0]


@pytest.mark.parametrize(
    ("y", "real", "less", "scale"),
    [
        ([1, 10], None, True, "log"),
        ([1, 10], None, False, "linear"),
        ([1, 4], None, True, "linear"),
        ([1, 4], 0.1, True, "log"),
        ([-0.1, 10], None, True, "linear"),
        ([float("nan"), 10], 1.0, True, "log"),
        ([float("nan")] * 2, None, True, "linear"),
    ],
)
def test_the_vertical_axis_is_logarithmic_where_that_is_sensible(
    y: list[float], real: float | None, less: bool, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less is better, all positive, the largest over five times the smallest; what is not finite does not count."""
    from matplotlib.figure import Figure

    seen = []
    monkeypatch.setattr(Figure, "suptitle", lambda self, *_, **__: seen.append(self.axes[0].get_yscale()))
    picture({"a": QualityCurve([2, 4], y, dashed=True)}, real=real, less=less)
    assert seen == [scale]
