"""From a word in a configuration to the class it names, to whether it may be used, and to what it takes."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from fmlab.config import catalog
from fmlab.errors import TRUST_HINT, UserError, nearest
from fmlab.records import RunLayout

# Where short class names are looked for, beside the package's own rooms.
FOREIGN_MODULES = (
    "torch.optim",
    "torch.optim.lr_scheduler",
    "torch.nn.modules",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.profilers",
)

# What a run that is not trusted may name: classes that are defined in these modules, and of those that Lightning calls
# by itself only the ones listed, which write nothing but to the run and call nothing that they are given.
_SAFE_ROOMS = "paths networks solvers objectives fields distributions data training inference"
_SAFE_MODULES = (*(f"fmlab.{room}" for room in _SAFE_ROOMS.split()), "torch.nn.modules", "torch.optim")
_SERVICES = ("Callback", "Logger", "Profiler")
_SAFE_SERVICES = (
    *("AveragedWeights", "Checkpoints", "ExcessLoss", "InitialWeights", "LineProgress", "LossFloor", "NonFinite"),
    *("PowerAverages", "SampleGrid", "SampleMetrics", "Throughput"),
    *("DeviceStatsMonitor", "EarlyStopping", "GradientAccumulationScheduler", "LearningRateMonitor", "ModelSummary"),
    *("PassThroughProfiler", "RichModelSummary", "RichProgressBar", "StochasticWeightAveraging", "TQDMProgressBar"),
    "Timer",
)
_IMPORTABLE = (*_SAFE_MODULES, "torch.nn", *FOREIGN_MODULES)

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


def add_import_folders(files: Iterable[Path]) -> list[str]:
    """Puts the folders of the configuration files and the working directory on `sys.path`, last.

    So `my_net.MyNet` is found in `my_net.py` beside the YAML, and nothing of the user's hides an installed package. A
    run's folder is no place for code: whoever resumes another's run would run what lies in it.
    """
    layouts = [RunLayout(file.resolve().parent) for file in files]
    beside = [layout.root for layout in layouts if not _is_run(layout)]
    return extend_import_path([*map(str, beside), str(Path.cwd())])


def _is_run(layout: RunLayout) -> bool:
    """Whether a folder is a run's: any one file of its record says so."""
    return any(file.is_file() for file in (layout.meta, layout.raw_config, layout.command, layout.status))


def extend_import_path(folders: Iterable[str]) -> list[str]:
    """Puts folders on `sys.path`, last; returns them, each once."""
    folders = list(dict.fromkeys(folders))
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    importlib.invalidate_caches()
    return folders


def find_class(word: Any, bases: Sequence[type], key: str, trust: bool = True) -> type:
    """The class that `word` names: a short name, or an import path.

    Args:
        word: `DiT`, `torch.optim.AdamW`, `my_net.MyNet`.
        bases: What it has to derive from, any of them.
        key: The key at fault in an error.
        trust: Whether any class may be imported, rather than only those known to be harmless.

    Raises:
        UserError: If there is none, saying which part of the word fails and what comes near; or if it needs trust.
    """
    base_names = " or ".join(base.__name__ for base in bases)
    if not isinstance(word, str) or not _NAME.fullmatch(word):
        raise UserError(f"expected the name of a {base_names}, got {word!r}"[:160], key=key)
    if "." not in word:
        cls, message = _short_class(word, bases), f"no {base_names} is called {word!r}"
    elif trust or is_safe_path(word):
        cls, message = _import_class(word, key), ""
    else:
        raise untrusted(word, key)
    if cls is None or not _is_any(cls, bases):
        cause = message if cls is None else f"{word if '.' in word else import_path(cls)} is no {base_names}"
        raise UserError(cause, key=key, hint=nearest(word.rpartition(".")[2], set(_known_names(bases, key))))
    if not trust and not _is_safe(cls):
        raise untrusted(word, key)
    return cls


def find_function(word: str, key: str, trust: bool) -> Any:
    """The function or class at an import path, where a function is needed.

    Raises:
        UserError: If there is none, or if the run is not trusted.
    """
    if not trust:
        raise untrusted(word, key)
    module_name, _, name = word.rpartition(".")
    function = getattr(_import_module(module_name, key), name, None) if module_name else None
    if not callable(function):
        raise UserError(f"no function is called {word!r}", key=key, hint="write its import path: my_file.my_function")
    return function


def untrusted(word: str, key: str) -> UserError:
    """The error of a run that names what only a trusted one may."""
    return UserError(f"{word} is code that an untrusted run may not load", key=key, hint=TRUST_HINT)


def is_safe_path(path: str) -> bool:
    """Whether an import path may belong to a class that needs no trust; nothing is imported."""
    return path.startswith(tuple(f"{module}." for module in _IMPORTABLE))


def _is_safe(cls: type) -> bool:
    """Whether a class, wherever its name was imported from, needs no trust."""
    service = any(base.__name__ in _SERVICES and base.__module__.startswith("lightning.") for base in cls.__mro__)
    modules = (*_SAFE_MODULES, *FOREIGN_MODULES) if service else _SAFE_MODULES
    defined = f"{cls.__module__}.".startswith(tuple(f"{module}." for module in modules))
    return defined and (not service or cls.__name__ in _SAFE_SERVICES)


@cache
def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The parameters of a constructor with their hints, those its `**kwargs` pass on to the bases included."""
    accepted: dict[str, inspect.Parameter] = {}
    for owner in cls.__mro__:
        constructor = inspect.unwrap(vars(owner).get("__init__", object.__init__))
        if not inspect.isfunction(constructor):
            continue
        signature = list(inspect.signature(constructor).parameters.values())[1:]
        for parameter in signature:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                accepted.setdefault(parameter.name, parameter.replace(annotation=_hint(constructor, parameter)))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in signature):
            break
    return accepted


def _hint(constructor: Any, parameter: inspect.Parameter) -> Any:
    """A parameter's hint, its names looked up; an empty one where these are known to type checkers alone."""

    def probe() -> None: ...

    if parameter.annotation is parameter.empty:
        return parameter.empty
    probe.__annotations__ = {"value": parameter.annotation}
    try:
        return get_type_hints(probe, constructor.__globals__, include_extras=True)["value"]
    except Exception:
        return parameter.empty


def accepted_arguments(word: str, trust: bool = True) -> set[str] | None:
    """The parameters of the class that `word` names; None if it cannot be found.

    Classes of this package are looked up in its source, so that nothing is imported for them.
    """
    entry = catalog.find_entry(word)
    arguments = entry.arguments() if entry else None
    if arguments is not None:
        return set(arguments)
    try:
        return set(parameters(find_class(word, [object], "", trust))) if "." in word or is_known_name(word) else None
    except UserError:
        return None


def import_path(cls: type) -> str:
    """The shortest path from which a class can be imported."""
    module, name = cls.__module__, cls.__qualname__
    parts = module.split(".")
    for count in range(1, len(parts)):
        package = sys.modules.get(".".join(parts[:count]))
        if getattr(package, name, None) is cls:
            return ".".join([*parts[:count], name])
    return f"{module}.{name}"


def is_known_name(word: str) -> bool:
    """Whether a short name is one of the package's rooms, of torch or of Lightning; nothing is imported."""
    return bool(_homes(word))


def _homes(word: str) -> list[str]:
    """The modules that export a short name."""
    entry = catalog.find_entry(word)
    rooms = [f"fmlab.{entry.room}"] if entry else []
    return rooms + [module for module in FOREIGN_MODULES if word in catalog.public_names(module)]


def _short_class(word: str, bases: Sequence[type]) -> type | None:
    """What a short name means: a class in a room, in torch or in Lightning, else any imported one that fits."""
    classes = [getattr(importlib.import_module(module), word) for module in _homes(word)]
    classes = [cls for cls in classes if inspect.isclass(cls)]
    own_classes = [cls for base in bases for cls in _subclasses(base) if cls.__name__ == word]
    fitting = [cls for cls in classes if _is_any(cls, bases)] or own_classes or classes
    return fitting[0] if fitting else None


def _is_any(cls: type, bases: Sequence[type]) -> bool:
    """Whether a class derives from one of the bases; a protocol that cannot tell says yes."""
    try:
        return issubclass(cls, tuple(bases))
    except TypeError:  # a protocol with attributes, or one that is not checked at run time
        return True


def _subclasses(base: type) -> list[type]:
    """Every imported subclass of a class that is public and not abstract."""
    classes: dict[type, None] = {}
    queue: list[type] = [base] if base is not object else []
    while queue:
        subclasses: list[type] = type.__subclasses__(queue.pop(0))
        derived = [cls for cls in subclasses if cls not in classes]
        classes |= dict.fromkeys(derived)
        queue += derived
    return [cls for cls in classes if not cls.__name__.startswith("_") and not inspect.isabstract(cls)]


def _known_names(bases: Sequence[type], key: str) -> list[str]:
    """The short names that fit at a key: the package's own, or where it has none, all that are imported."""
    last = key.rpartition(".")[2]
    kinds = [kind for kind, facts in catalog.KINDS.items() if facts.key.rpartition(".")[2] == last] or catalog.KINDS
    entries = [entry for kind in kinds for entry in catalog.of_kind(kind)]
    names = [entry.name for entry in entries if _is_any(_import_class(entry.path, key), bases)]
    imported = [cls for base in bases for cls in _subclasses(base)]
    optimizers = [cls.__name__ for cls in imported if cls.__module__.startswith("torch.optim")]
    return names + optimizers or [cls.__name__ for cls in imported]


def _import_class(word: str, key: str) -> type:
    module_name, _, name = word.rpartition(".")
    module = _import_module(module_name, key)
    cls = getattr(module, name, None)
    if inspect.isclass(cls):
        return cls
    offered = [other for other, value in vars(module).items() if inspect.isclass(value) and not other.startswith("_")]
    defined_names = [other for other in offered if getattr(module, other).__module__ == module.__name__]
    where = Path(module.__file__).name if getattr(module, "__file__", None) and "." not in module_name else module_name
    raise UserError(f"{where} has no class {name!r}", key=key, hint=nearest(name, defined_names or offered))


def _import_module(name: str, key: str) -> Any:
    """Imports a module; an error names the part that is missing, or the line of the user's file that failed."""
    try:
        return importlib.import_module(name)
    except UserError:
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
        if not f"{name}.".startswith(f"{missing}.") or not missing:
            file, line = _failing_line(error, name)
            cause = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{file}:{line}: {type(error).__name__}: {cause}", key=key) from error
        parent, _, part = missing.rpartition(".")
        where = f" in {parent}" if parent else " beside the configuration file, in this folder or installed"
        hint = nearest(part, modules) if (modules := _modules_in(parent)) else None
        raise UserError(f"there is no module {part!r}{where}", key=key, hint=hint) from error


def _modules_in(parent: str) -> list[str]:
    """Modules near at hand: in a package, or beside the configuration and in the working directory."""
    if parent:
        folders = [Path(folder) for folder in getattr(sys.modules.get(parent), "__path__", [])]
    else:
        folders = [Path(folder) for folder in sys.path if "site-packages" not in folder and "lib/python" not in folder]
    names = {file.stem for folder in folders if folder.is_dir() for file in folder.glob("*.py")}
    names |= {file.parent.name for folder in folders if folder.is_dir() for file in folder.glob("*/__init__.py")}
    return sorted(name for name in names if not name.startswith("_"))


def _failing_line(error: Exception, module: str) -> tuple[str, int]:
    """File and line at which importing a module failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return Path(error.filename).name, error.lineno or 0
    frames = traceback.extract_tb(error.__traceback__)
    module_frames = [frame for frame in frames if Path(frame.filename).stem == module.rpartition(".")[2]]
    frame = (module_frames or frames)[-1]
    return Path(frame.filename).name, frame.lineno or 0
