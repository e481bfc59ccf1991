"""Sequence files by name or path: where they lie, what they extend, and the list of the library.

Needs neither JAX nor NumPy, so that listing the library is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrisim.errors import Problem, SpecError
from mrisim.paths import library_files
from mrisim.source import KeyPath, Source, did_you_mean, inside_folder, one_line, read_source

MAX_EXTENDS = 8
_LATER: dict[str, str] = {}  # key → what it will hold
_BY_NAME = ("parameters", "definitions", "events", "system", "geometry", "recon", "simulation", "limits")


def list_sequences() -> tuple[tuple[str, str, Path], ...]:
    """Name, one line of description and file of every sequence in the library.

    Example:
        >>> "flash_2d" in [name for name, description, path in list_sequences()]
        True
    """
    files = library_files("sequences").items()
    return tuple((name, one_line(load_source(path).data, "description", "name"), path) for name, path in files)


def find_file(name_or_path: str | Path) -> Path:
    """File of a library name or a path.

    Raises:
        SpecError: there is none.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    known = library_files("sequences")
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    rule = f"must be a sequence of the library or a path of a .yaml file, but '{name_or_path}' is neither"
    raise SpecError(Problem(rule, did_you_mean(str(name_or_path), known)))


def load_source(name_or_path: str | Path) -> Source:
    """Data of a sequence file with what it extends filled in.

    Raises:
        SpecError: files that cannot be read, recursion, keys of a later version of the language.
    """
    return _extended(find_file(name_or_path), ())


def _extended(path: Path, above: tuple[Path, ...]) -> Source:
    source = read_source(path)
    if not isinstance(source.data, dict):
        raise SpecError(source.problem((), "must be a mapping with name, events and timeline, but is not"))
    refuse_later(source)
    if "mrisim" not in source.data:
        raise SpecError(
            source.problem(
                (), "must have the key 'mrisim', the version of the language, but has none", "Add 'mrisim: 1'"
            )
        )
    if "extends" not in source.data:
        return source
    name, at = source.data["extends"], ("extends",)
    if not isinstance(name, str):
        raise SpecError(source.problem(at, "must be the name of a sequence or of a file beside this one, but is not"))
    chain = (*above, path.resolve())
    try:
        base_path = _base(source, name)
    except SpecError as error:
        raise SpecError([source.problem(at, p.rule, p.remedy) for p in error.problems]) from None
    if base_path.resolve() in chain or len(chain) > MAX_EXTENDS:
        rule = f"must not extend itself, but '{name}' leads back to {base_path.name}"
        rule = (
            rule
            if base_path.resolve() in chain
            else f"must extend at most {MAX_EXTENDS} files in a row, but extends more"
        )
        raise SpecError(source.problem(at, rule, "Remove one 'extends'"))
    return _merge(_extended(base_path, chain), source)


def _base(source: Source, name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return inside_folder(source.folder, name)
    known = library_files("sequences")
    if name in known:
        return known[name]
    beside = inside_folder(source.folder, f"{name}.yaml")
    if beside.exists():
        return beside
    raise SpecError(Problem(f"must be a sequence of the library or a file beside this one, but '{name}' is neither",
                            did_you_mean(name, known)))  # fmt: skip


def refuse_later(source: Source) -> None:
    """Refuse keys of a later version of the language."""
    problems = [
        source.problem(
            (key,), f"must be left out for now: '{key}' ({text}) is not in this version", f"Remove '{key}'", at_key=True
        )
        for key, text in _LATER.items()
        if key in source.data
    ]
    if problems:
        raise SpecError(problems)


def _merge(base: Source, over: Source) -> Source:
    """Data of a file laid over that of the file that it extends; places point into both."""
    data = dict(base.data)
    merged = _Places(base, over)
    for key, value in over.data.items():
        if key == "extends":
            continue
        if key in _BY_NAME and isinstance(value, dict) and isinstance(data.get(key), dict):
            data[key] = merged.table(key, data[key], value)
        elif key == "timing" and isinstance(value, list) and isinstance(data.get(key), list):
            data[key] = merged.timing(data[key], value)
        else:
            data[key] = value
            merged.take((key,), (key,))
    return Source(file=over.file, data=data, places=merged.places, key_places=merged.key_places, folder=over.folder,
                  origins=merged.origins)  # fmt: skip


class _Places:
    """Places of merged data: those of the base, except where the file on top has its own."""

    def __init__(self, base: Source, over: Source):
        self.over = over
        self.base = base
        self.places = dict(base.places)
        self.key_places = dict(base.key_places)
        self.origins = {path: base.origins.get(path, base.file) for path in {*base.places, *base.key_places}}
        self.places[()] = over.places.get((), (1, 1))
        self.origins[()] = over.file

    def take(self, target: KeyPath, path: KeyPath) -> None:
        """Use the places of the file on top for everything under a path."""
        n = len(target)
        for table in (self.places, self.key_places, self.origins):
            for old in [p for p in table if p[:n] == target]:
                del table[old]
        for table, new in ((self.places, self.over.places), (self.key_places, self.over.key_places)):
            for p, place in new.items():
                if p[: len(path)] == path:
                    table[(*target, *p[len(path) :])] = place
                    self.origins[(*target, *p[len(path) :])] = self.over.file

    def table(self, key: str, base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
        """Entries by name; a parameter's value alone keeps its bounds and its line of doc, null leaves an entry out."""
        result = dict(base)
        for name, value in over.items():
            old = base.get(name)
            if value is None and name in base:
                del result[name]
                continue
            if key == "parameters" and isinstance(old, dict) and isinstance(value, dict):
                result[name] = {**old, **value}
                for inner in value:
                    self.take((key, name, inner), (key, name, inner))
                continue
            if key == "parameters" and isinstance(old, dict):
                result[name] = {**old, "value": value}
                self.take((key, name, "value"), (key, name))
                continue
            result[name] = value
            self.take((key, name), (key, name))
        return result

    def timing(self, base: list[Any], over: list[Any]) -> list[Any]:
        """Constraints by name; new ones are added."""
        result = list(base)
        for index, one in enumerate(over):
            name = one.get("name") if isinstance(one, dict) else None
            old = [
                i for i, b in enumerate(result) if isinstance(b, dict) and name is not None and b.get("name") == name
            ]
            target = old[0] if old else len(result)
            result[target : target + 1] = [one]
            self.take(("timing", target), ("timing", index))
        return result
