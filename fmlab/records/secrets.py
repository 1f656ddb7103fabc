"""Keeps credentials out of what a run writes down."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

_NAMES = re.compile(r"(key|token|secret|passw(or)?d|credentials?)$", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""(\b(?:(?:api|access|auth|secret)[_-]?(?:key|token)|passw(?:or)?d)\b['"]?\s*[=:]\s*['"]?)[^\s,'"}\]]+""",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"(\w+://[^/\s:@]+:)[^@/\s]+(?=@)")


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text without the values of environment variables that hold credentials, nor what looks like one.

    Args:
        text: What is to be written.
        environment: Where `WANDB_API_KEY` and the like may stand; values of less than 8 characters are no secrets.
    """
    for name, value in environment.items():
        if _NAMES.search(name) and len(value) >= 8:
            text = text.replace(value, f"<{name}>")
    for pattern in (_ASSIGNED, _IN_ADDRESS):
        text = pattern.sub(r"\1<hidden>", text)
    return text


def values_without_secrets(node: Any) -> Any:
    """Nested mappings and lists, every text in them without secrets."""
    if isinstance(node, Mapping):
        return {key: values_without_secrets(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [values_without_secrets(value) for value in node]
    return without_secrets(node) if isinstance(node, str) else node
