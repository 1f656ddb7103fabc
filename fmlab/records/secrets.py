"""Keeps credentials out of what a run writes down and out of what it sends to a service.

Three things give a credential away: the environment variable that holds it, the name that it is given to, and its own
shape. Each is a short table here. The detectors of `detect-secrets` 1.5 were tried: they take 0.3 s to import (they
load an HTTP client), know neither Hugging Face's tokens nor `Bearer`, and by entropy also report plain words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HIDDEN = "<hidden>"
_SHORTEST = 6
"""Values of environment variables below this length are no secrets: they would be ordinary words."""

_VARIABLE = re.compile(
    r"(?:key|token|secret|passw(?:or)?d|passphrase|credentials?)s?$|(?:^|_)(?:pass|pwd|pat|auth|cookie)$", re.IGNORECASE
)
_NOT_SECRET = ("PWD", "OLDPWD")
_HIDDEN_VARIABLE = re.compile(r"<([A-Z_][A-Z0-9_]*)>")  # in capitals: <pad_token> may be a word of the user's own

_NAME = (
    r"(?:(?<![a-z0-9])(?:(?:api|access|auth|secret|private|signing|encryption|account|hf|hub|github|gitlab|wandb|client|"
    r"bearer|refresh|session|security)[_-]?(?:key(?:_?id)?|token|secret)|passw(?:or)?d|passphrase|secret)|"
    r"(?<![a-z0-9_])(?:token|pwd|credentials?))"
)
_IS_NAME = re.compile(f"{_NAME}$", re.IGNORECASE)
_VALUE = r"""(?:(?<=")[^"\n]+|(?<=')[^'\n]+|[^\s,'"}\]&<]+)"""
_PLAIN = r"(?!(?:null|true|false|none|~|\$\{[^}\n]*\}|[-+]?[0-9.]{1,5})(?:[\s,}\]]|$))"
"""What is no secret whatever its name: a reference, a switch, a small number."""
_OPTION = re.compile(r"--[\w.-]*$")

# Each pattern begins with a fixed text or a class that ends soon, so that a long word is read once.
_ASSIGNED = re.compile(rf"""({_NAME}["']?[ \t]{{0,8}}([=: \t])[ \t]{{0,8}}["']?)({_PLAIN}{_VALUE})""", re.IGNORECASE)
_PATTERNS = (
    re.compile(
        r"([?&](?:key|sig|signature|auth|code|x-amz-(?:signature|credential|security-token))=)([^\s&'\"]+)", re.I
    ),
    re.compile(r"\b((?:bearer|basic)[ \t]+)([\w.~+/=-]{8,})", re.IGNORECASE),
    re.compile(r"(://[^/\s:@]{0,256}:)([^@/\s]{1,256})(?=@)"),
    re.compile(r"(://)([^/\s:@]{16,256})(?=@)"),
    # values that are known by their shape
    re.compile(r"()\b(hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,})"),
    re.compile(r"()\b(gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,})"),
    re.compile(r"()\b((?:AKIA|ASIA)[0-9A-Z]{12,})"),
    re.compile(
        r"()\b(sk-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,}|wandb_v1_\w{16,}|npm_\w{30,}|pypi-[\w-]{16,})"
    ),
    re.compile(r"()\b(eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)"),
    re.compile(r"(-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----)([^-]+)"),
)


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text without the values of environment variables that hold credentials, nor what looks like one.

    The time is linear in the length of the text.

    Args:
        text: What is to be written.
        environment: Where `WANDB_API_KEY` and the like may stand.
    """
    for name, value in environment.items():
        if _holds_secret(name, value) and value in text:
            shown = f"<{name}>" if _HIDDEN_VARIABLE.fullmatch(f"<{name}>") else HIDDEN
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", shown, text)
    text = _ASSIGNED.sub(_hide_assigned, text)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def values_without_secrets(node: Any) -> Any:
    """Nested mappings and lists, every text in them without secrets.

    What stands under a name such as `password`, and in a list of words after an option such as `--password`, is hidden
    whatever it looks like.
    """
    if isinstance(node, Mapping):
        return {key: HIDDEN if _is_secret(key, value) else values_without_secrets(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return list(_clean_items(node))
    return without_secrets(node) if isinstance(node, str) else node


def hidden_variables(text: str) -> list[str]:
    """The environment variables whose values `without_secrets` has taken out of a text."""
    return [name for name in _HIDDEN_VARIABLE.findall(text) if name not in _NOT_SECRET and _VARIABLE.search(name)]


def with_variables(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """A text with the values of those variables put back, as far as they are set."""
    for name in hidden_variables(text):
        text = text.replace(f"<{name}>", environment.get(name, f"<{name}>"))
    return text


def _hide_assigned(match: re.Match[str]) -> str:
    """`name = value`, `name: value` and `--name value` with the value hidden; other pairs of words as they are."""
    name, separator, value = match.groups()
    before = match.string[max(0, match.start() - 64) : match.start()]
    if separator in " \t" and (value.startswith("-") or not _OPTION.search(before)):
        return match.group()
    return name + HIDDEN


def _clean_items(items: Sequence[Any]) -> Iterator[Any]:
    """The items of a list; one that follows an option with a secret's name is its value."""
    option: Any = ""
    for item in items:
        follows = isinstance(option, str) and option.startswith("--") and "=" not in option
        hidden = follows and _is_secret(option, item) and not str(item).startswith("--")
        yield HIDDEN if hidden else values_without_secrets(item)
        option = item


def _is_secret(name: Any, value: Any) -> bool:
    """Whether a value is a text that its name gives away."""
    if not isinstance(name, str) or not isinstance(value, str) or not value or len(name) > 256:
        return False
    return _IS_NAME.search(name) is not None and re.fullmatch(rf"{_PLAIN}.*", value, re.DOTALL | re.I) is not None


def _holds_secret(name: str, value: str) -> bool:
    return name not in _NOT_SECRET and len(value) >= _SHORTEST and _VARIABLE.search(name) is not None
