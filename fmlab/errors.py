"""The one exception for what a user can put right, and the search for the nearest right word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

TRUST_HINT = "add --trust (in Python: trust=True) if you know whose it is"
"""What is said of a run that wants more than an untrusted run may have."""


class UserError(ValueError):
    """A mistake in a configuration, a file or an argument, told in one line.

    Args:
        message: The cause, in one line.
        key: The configuration key or argument at fault, dotted (`model.network.patch_size`).
        hint: The nearest right choice, in one line.
    """

    def __init__(self, message: str, *, key: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.key, self.hint = message, key, hint

    def __str__(self) -> str:
        head = f"{self.key}: {self.message}" if self.key else self.message
        return f"{head}\n  {self.hint}" if self.hint else head

    def report(self) -> str:
        """The error for a terminal, in at most three lines: key and cause, then the hint."""
        head, hint = (" ".join((text or "").split()) for text in (self.message, self.hint))
        head = f"error: {self.key}: {head}" if self.key else f"error: {head}"
        return f"{head}\n  {hint}" if hint else head


class RunFailure(UserError):
    """What stops a run that was asked for rightly: a full disk, a loss that is not finite. Told in one line too."""


def user_error_in(error: BaseException | None) -> UserError | None:
    """The UserError that an error is or was caused by; libraries wrap what constructors raise."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def nearest(word: str, choices: Iterable[str], cutoff: float = 0.6) -> str:
    """A hint that names the closest choices, or all of them when none is close.

    Args:
        word: What was typed.
        choices: What may be meant.
        cutoff: The least likeness, in [0, 1], of a choice that is close.
    """
    choices = sorted(choices)
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), by_lower, n=2, cutoff=cutoff)
    if not close and len(word) > 2:  # a word that was cut short: `bf16` for `bf16-mixed`
        close = [name for name in by_lower if name.startswith(word.lower())][:2]
    if close:
        return "did you mean " + " or ".join(by_lower[name] for name in close) + "?"
    shown = ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")
    return f"choose from: {shown}" if choices else "there is nothing to choose from"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
