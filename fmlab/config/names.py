"""From a word in a configuration to the class it names, and to the parameters that class takes."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse._parameter_resolvers import ParamData, get_signature_parameters

from fmlab.config import catalog, schema
from fmlab.errors import UserError, nearest
from fmlab.records import RunLayout


def add_import_folders(files: Iterable[Path]) -> list[str]:
    """Puts the folders of the configuration files and the working directory on `sys.path`, last.

    So `my_net.MyNet` is found in `my_net.py` beside the YAML, and nothing of the user's hides an installed package. A
    run's folder is no place for code: whoever resumes another's run would run what lies in it.
    """
    beside = [file.resolve().parent for file in files if not RunLayout(file.resolve().parent).meta.is_file()]
    folders = list(dict.fromkeys([*map(str, beside), str(Path.cwd())]))
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    importlib.invalidate_caches()
    return folders


@cache
def parameters(cls: type) -> dict[str, ParamData]:
    """The parameters of a constructor, those its `**kwargs` pass on to the bases included."""
    return {found.name: found for found in get_signature_parameters(cls, None, logger=False)}


def import_path(cls: type) -> str:
    """The shortest path from which a class can be imported."""
    module, name = cls.__module__, cls.__qualname__
    parts = module.split(".")
    for count in range(1, len(parts)):
        package = sys.modules.get(".".join(parts[:count]))
        if getattr(package, name, None) is cls:
            return ".".join([*parts[:count], name])
    return f"{module}.{name}"


def find_class(word: str, bases: Sequence[type], key: str) -> type:
    """The class that `word` names: a short name, or an import path.

    Args:
        word: `DiT`, `torch.optim.AdamW`, `my_net.MyNet`.
        bases: What it has to derive from, any of them.
        key: The key at fault in an error.

    Raises:
        UserError: If there is none, saying which part of the word fails and what comes near.
    """
    if "." in word:
        cls = _import(word, key)
        if not is_any(cls, bases):
            raise UserError(
                f"{word} is no {_names(bases)}", key=key, hint=_choices(word.rpartition(".")[2], bases, key)
            )
        return cls
    found = [candidate for candidate in candidates(word) if is_any(candidate, bases)]
    found = found or [cls for base in bases for cls in subclasses(base) if cls.__name__ == word][:1]
    if not found:
        others = [import_path(other) for other in candidates(word)]
        cause = f"{others[0]} is no {_names(bases)}" if others else f"no {_names(bases)} is called {word!r}"
        raise UserError(cause, key=key, hint=_choices(word, bases, key))
    return found[0]


def candidates(word: str) -> list[type]:
    """What a short name may mean: in the package's rooms, then in torch's optimizers and schedules."""
    paths = [entry.path for entry in catalog.named(word)]
    found = [getattr(importlib.import_module(path.rpartition(".")[0]), word) for path in paths]
    foreign = [getattr(importlib.import_module(module), word, None) for module in schema.FOREIGN_MODULES]
    return [cls for cls in found + foreign if inspect.isclass(cls)]


def accepted_arguments(new: str, old: str) -> set[str] | None:
    """The parameters of the class `new` that is to stand where `old` stood; None if `new` cannot be found.

    Of several classes with that short name it is the one from the package of the old class.
    """
    try:
        found = [_import(new, "")] if "." in new else candidates(new)
        before = [_import(old, "")] if "." in old else candidates(old)
    except UserError:
        return None
    homes = {_home(cls) for cls in before}
    found.sort(key=lambda cls: _home(cls) not in homes)
    return set(parameters(found[0])) if found else None


def _home(cls: type) -> str:
    """The package a class lives in: `fmlab.paths`, `torch.optim`."""
    return ".".join(cls.__module__.split(".")[:2])


def is_any(cls: type, bases: Sequence[type]) -> bool:
    """Whether a class derives from one of the bases; a protocol that cannot tell says yes."""
    return any(_is_subclass(cls, base) for base in bases)


def subclasses(base: type) -> list[type]:
    """Every imported subclass of a class that is public and not abstract."""
    found: dict[type, None] = {}
    queue: list[type] = [base]
    while queue:
        derived: list[type] = queue.pop(0).__subclasses__()
        for cls in derived:
            if cls not in found:
                found[cls] = None
                queue.append(cls)
    return [cls for cls in found if not cls.__name__.startswith("_") and not inspect.isabstract(cls)]


def known_names(bases: Sequence[type], key: str) -> list[str]:
    """The short names that fit at a key: the package's own, or where it has none, all that are imported."""
    own = []
    last = key.rpartition(".")[2]
    kinds = [kind for kind in catalog.KINDS.values() if kind.key.rpartition(".")[2] == last] or catalog.KINDS.values()
    for kind in kinds:
        for entry in catalog.of_kind(kind.name):
            cls = getattr(importlib.import_module(f"fmlab.{entry.room}"), entry.name, None)
            if inspect.isclass(cls) and is_any(cls, bases):
                own.append(entry.name)
    foreign = [cls for base in bases for cls in subclasses(base) if cls.__module__.startswith(schema.FOREIGN_MODULES)]
    return own + [cls.__name__ for cls in foreign] or [cls.__name__ for base in bases for cls in subclasses(base)]


def _choices(word: str, bases: Sequence[type], key: str) -> str:
    return nearest(word, set(known_names(bases, key)))


def _names(bases: Sequence[type]) -> str:
    return " or ".join(base.__name__ for base in bases)


def _is_subclass(cls: type, base: type) -> bool:
    try:
        return issubclass(cls, base)
    except TypeError:  # a protocol with attributes, or one that is not checked at run time
        return True


def _import(word: str, key: str) -> type:
    module_name, _, name = word.rpartition(".")
    module = _import_module(module_name, key)
    cls = getattr(module, name, None)
    if inspect.isclass(cls):
        return cls
    offered = [found for found, value in vars(module).items() if inspect.isclass(value) and not found.startswith("_")]
    own = [found for found in offered if getattr(module, found).__module__ == module.__name__]
    where = Path(module.__file__).name if getattr(module, "__file__", None) and "." not in module_name else module_name
    raise UserError(f"{where} has no class {name!r}", key=key, hint=nearest(name, own or offered))


def _import_module(name: str, key: str) -> Any:
    """Imports a module; an error names the part that is missing, or the line of the user's file that failed."""
    parent = ""
    for part in name.split("."):
        full = f"{parent}.{part}" if parent else part
        if full not in sys.modules and _spec_is_missing(full):
            inside = f" in {parent}" if parent else " beside the configuration file, in this folder or installed"
            hint = nearest(part, _modules_in(parent)) if _modules_in(parent) else None
            raise UserError(f"there is no module {part!r}{inside}", key=key, hint=hint)
        try:
            module = importlib.import_module(full)
        except UserError:
            raise
        except Exception as error:
            file, line = _place(error, full)
            cause = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{file}:{line}: {type(error).__name__}: {cause}", key=key) from error
        parent = full
    return module


def _spec_is_missing(name: str) -> bool:
    try:
        return find_spec(name) is None
    except (ImportError, ValueError, AttributeError):
        return True


def _modules_in(parent: str) -> list[str]:
    """Modules near at hand: in a package, or beside the configuration and in the working directory."""
    if parent:
        places = [Path(place) for place in getattr(sys.modules.get(parent), "__path__", [])]
    else:
        places = [Path(place) for place in sys.path if "site-packages" not in place and "lib/python" not in place]
    found = {file.stem for place in places if place.is_dir() for file in place.glob("*.py")}
    found |= {file.parent.name for place in places if place.is_dir() for file in place.glob("*/__init__.py")}
    return sorted(name for name in found if not name.startswith("_"))


def _place(error: Exception, module: str) -> tuple[str, int]:
    """File and line at which importing a module failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return Path(error.filename).name, error.lineno or 0
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).stem == module.rpartition(".")[2]]
    frame = (own or frames)[-1]
    return Path(frame.filename).name, frame.lineno or 0
