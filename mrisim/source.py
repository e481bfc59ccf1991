"""YAML text → plain data, with the place of every key; the one door through which specifications come in.

Text is untrusted: its size, depth and alias expansion are bounded, tags are refused, scalars are numbers, true, false,
null or text (so `on` is a key and `0 .. n - 1` is text), and files are read inside the specification's folder only.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from mrisim.errors import MrisimError, Problem, SpecError

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 100_000

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Plain data of a specification and where each of its keys stands.

    `data` holds dict, list, str, int, float, bool and None only. `places` maps a path of keys and indices to line and
    column, both from 1; a value's place is that of the value, a key's place is in `key_places`.
    """

    file: str
    data: Any
    places: Mapping[KeyPath, tuple[int, int]] = field(default_factory=dict)
    key_places: Mapping[KeyPath, tuple[int, int]] = field(default_factory=dict)
    folder: Path | None = None
    origins: Mapping[KeyPath, str] = field(default_factory=dict)  # file of a path, where several are merged

    def problem(self, path: KeyPath, rule: str, remedy: str = "", *, at_key: bool = False) -> Problem:
        """Problem at a path of keys; the place is that of the nearest enclosing key that stands in the text."""
        line, column, file = None, None, self.file
        for length in range(len(path), -1, -1):
            tables = (self.key_places, self.places) if at_key else (self.places, self.key_places)
            place = tables[0].get(path[:length]) or tables[1].get(path[:length])
            if place is not None:
                line, column = place
                file = self.origins.get(path[:length], self.file)
                break
        return Problem(rule, remedy, spell_path(path), file, line, column)


def spell_path(path: KeyPath) -> str:
    """Path of keys as text.

    Example:
        >>> spell_path(("timeline", 0, "do", 2))
        'timeline[0].do[2]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Remedy that names the nearest known word, or all of them where few are known.

    Example:
        >>> did_you_mean("flipp", ["flip", "phase"])
        "Did you mean 'flip'"
    """
    known = sorted(known)
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lowered, n=1)
    if close:
        return f"Did you mean '{lowered[close[0]]}'"
    return f"Known: {', '.join(known)}" if 0 < len(known) <= 24 else ""


def read_source(path: str | Path) -> Source:
    """Read a YAML file.

    Args:
        path: File to read.

    Returns:
        Its data with places; `folder` is the folder that it lies in.

    Raises:
        SpecError: the file cannot be read, is no UTF-8 text, or breaks a rule of `parse_source`.
    """
    path = Path(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError("it is a pipe or a device")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(Problem(f"must be UTF-8 text, but byte {error.start} is not", file=str(path))) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(Problem(f"must be a readable file, but is not: {reason}", file=str(path))) from None
    return parse_source(text, file=_shown(path), folder=path.parent)


def _shown(path: Path) -> str:
    """Path as a message shows it: relative where it lies in the working folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)


def parse_source(text: str, file: str = "<text>", folder: Path | None = None) -> Source:
    """Plain data and places of YAML text.

    Args:
        text: One YAML document.
        file: Name for messages.
        folder: Where files that the text names are looked for.

    Raises:
        SpecError: broken YAML, duplicate keys, tags, more than `MAX_BYTES`, `MAX_DEPTH` or `MAX_NODES`; all at once
            where they can be found together.

    Example:
        >>> parse_source("adc: {on: n >= 0, samples: 64}").data
        {'adc': {'on': 'n >= 0', 'samples': 64}}
    """
    if len(text) > MAX_BYTES:
        raise SpecError(Problem(f"must be at most {MAX_BYTES} bytes long, but is longer", file=file))
    try:
        node = _compose(text, file)
    except yaml.MarkedYAMLError as error:
        raise SpecError(_yaml_problem(error, file)) from None
    except yaml.YAMLError as error:
        raise SpecError(Problem(f"must be YAML, but is not: {str(error).splitlines()[0]}", file=file)) from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, MrisimError):
            raise
        raise SpecError(Problem(f"must be YAML, but is not: {error}", file=file)) from None
    builder = _Builder(file)
    data = builder.build(node, ()) if node is not None else None
    if builder.problems:
        raise SpecError(builder.problems)
    return Source(file=file, data=data, places=builder.places, key_places=builder.key_places, folder=folder)


def inside_folder(folder: Path | None, name: str) -> Path:
    """Path of a file that a specification names, refused where it lies outside the specification's folder.

    Raises:
        SpecError: an absolute path, a path or link that leaves the folder, or a specification without a folder.
    """
    if folder is None:
        raise SpecError(f"must not name a file in a specification that is no file itself, but names '{name}'")
    if "\0" in name or "\\" in name or ":" in name or len(name) > 1000:
        raise SpecError(f"must be a file name with forward slashes, but is {name[:80]!r}")
    root = folder.resolve()
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError):
        raise SpecError(f"must be a file name, but is {name[:80]!r}") from None
    if Path(name).is_absolute() or not path.is_relative_to(root):
        raise SpecError(Problem(f"must lie inside the specification's folder, but is '{name}'", "Copy the file there"))
    return path


def names_curve(key: object, value: object) -> bool:
    """Whether an option of a map names a file: the curve of an input function.

    Example:
        >>> names_curve("aif", "artery.csv"), names_curve("aif", "parker")
        (True, False)
    """
    return key == "aif" and isinstance(value, str) and value.endswith(".csv")


def validate(model: type[BaseModel], source: Source) -> BaseModel:
    """Build a pydantic model of the data.

    Raises:
        SpecError: with one problem per violation, each at its place.
    """
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        raise SpecError(problems_of(error, source, model)) from None


def problems_of(error: ValidationError, source: Source, model: type[BaseModel]) -> list[Problem]:
    """Problems of a failed validation, with places, paths of keys and the nearest known key.

    Args:
        error: What pydantic raised.
        source: The data that was validated.
        model: The model that it was validated against.
    """
    problems: dict[str, Problem] = {}
    for record in error.errors(include_url=False):
        path = _data_path(record["loc"], source.data)
        for problem in _translate(record, path, source, model):
            problems.setdefault(str(problem), problem)
    return _joined(problems.values())


def _joined(problems: Iterable[Problem]) -> list[Problem]:
    """Kinds that one value might be, and is none of, as one problem."""
    kinds: dict[Problem | tuple, list[str]] = {}
    for problem in problems:
        kind, but, found = problem.rule.partition(", but is ")
        alone = not kind.startswith("must be a ") or not but or problem.remedy
        key = problem if alone else (problem.path, problem.file, problem.line, problem.column, found)
        kinds.setdefault(key, []).append(kind.removeprefix("must be "))
    return [
        key if isinstance(key, Problem) else Problem(f"must be {_listed(names)}, but is {key[4]}", "", *key[:4])
        for key, names in kinds.items()
    ]


def _listed(kinds: list[str]) -> str:
    if len(kinds) == 1:
        return kinds[0]
    plain = {"a valid integer": "a number", "a valid number": "a number", "a valid boolean": "true or false"}
    names = list(dict.fromkeys(plain.get(kind, kind) for kind in kinds))
    return ", ".join(names[:-1]) + f" or {names[-1]}" if len(names) > 1 else names[0]


def _translate(record: Mapping[str, Any], path: KeyPath, source: Source, model: type[BaseModel]) -> list[Problem]:
    kind, last = record["type"], record["loc"][-1] if record["loc"] else ""
    if kind == "extra_forbidden":
        remedy = did_you_mean(str(path[-1]), _field_names(model, path[:-1], source.data))
        return [source.problem(path, f"must be a known key, but '{path[-1]}' is none", remedy, at_key=True)]
    if kind == "missing":
        return [source.problem(path, f"must have the key '{last}', but has none", f"Add '{last}: …'")]
    context = record.get("ctx") or {}
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return [source.problem(path, f"must have {bound} entries, but has {context['actual_length']}")]
    cause = context.get("error")
    if isinstance(cause, MrisimError):
        return [source.problem(path, problem.rule, problem.remedy) for problem in cause.problems]
    text = record["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text.replace("valid dictionary", "mapping").replace("valid list", "list").replace("valid string", "text")
    text = re.sub(r" or instance of \w+", "", text)
    for start in ("Input should be ", "Input should "):
        if text.startswith(start):
            verb = "must be " if start.endswith("be ") else "must "
            return [source.problem(path, f"{verb}{text.removeprefix(start)}, but is {show_data(record['input'])}")]
    rule, _, remedy = text.partition(". ")
    return [source.problem(path, rule.removesuffix("."), remedy.removesuffix("."))]


def show_data(value: Any) -> str:
    """Data as a message shows it: short, on one line, in YAML's words."""
    words = {True: "true", False: "false", None: "empty"}
    if isinstance(value, bool) or value is None:
        return words[value]
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = " ".join(str(value).split())
    text = text if len(text) <= 60 else text[:57] + "…"
    return f"'{text}'" if isinstance(value, str) else text


def one_line(data: Any, *keys: str) -> str:
    """The first of some texts that a specification has, on one line.

    Example:
        >>> one_line({"name": "Spin echo", "description": ""}, "description", "name")
        'Spin echo'
    """
    texts = [data[key] for key in keys if data.get(key)] if isinstance(data, dict) else []
    return " ".join(str(texts[0]).split()) if texts else ""


def _data_path(loc: tuple[str | int, ...], data: Any) -> KeyPath:
    """Location without the tags of unions, which stand in no file."""
    path: list[str | int] = []
    for part in loc:
        is_key = isinstance(data, dict) and part in data
        is_index = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if is_key or is_index:
            data = data[part]  # pyright: ignore[reportCallIssue, reportArgumentType]
            path.append(part)
    return tuple(path)


def _field_names(model: type[BaseModel], path: KeyPath, data: Any) -> set[str]:
    """Keys that the models at a path know."""
    candidates = list(_models(model))
    for part in path:
        candidates = [inner for outer in candidates for inner in _step(outer, part)]
        data = data[part]
    names = {name for kind in candidates if _is_model(kind) for name in _aliases(kind)}
    return names - (set(data) if isinstance(data, dict) else set())


def _aliases(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _is_model(annotation: Any) -> bool:
    is_class = isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)
    return is_class and issubclass(annotation, BaseModel)


def _models(annotation: Any) -> Iterator[Any]:
    """Members of a union, without annotations."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _models(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _models(member)
    elif hasattr(annotation, "__value__"):  # a `type` alias
        yield from _models(annotation.__value__)
    else:
        yield annotation


def _step(annotation: Any, part: str | int) -> Iterator[Any]:
    if _is_model(annotation):
        names = _aliases(annotation)
        if part in names:
            yield from _models(names[part])
        return
    args = get_args(annotation)
    if get_origin(annotation) in (list, tuple) and isinstance(part, int):
        uniform = get_origin(annotation) is list or args[-1] is Ellipsis
        yield from _models(args[0] if uniform else args[min(part, len(args) - 1)])
    elif get_origin(annotation) in (dict, Mapping) and len(args) == 2:
        yield from _models(args[1])


def _yaml_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark, reason = error.problem_mark or error.context_mark, " ".join(filter(None, (error.context, error.problem)))
    remedy = "Indent with spaces" if "'\\t'" in reason else ""
    place = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return Problem(f"must be YAML, but is not: {reason}", remedy, "", file, *place)


def _compose(text: str, file: str) -> yaml.Node | None:
    """Tree of nodes: by the quick loader where there is one, broken text by the one with the better messages."""
    loaders = [getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader]
    try:
        _check_events(text, file, loaders[0])
        return yaml.compose(text, Loader=loaders[0])
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, MrisimError):
            raise
        _check_events(text, file, loaders[1])
        return yaml.compose(text, Loader=loaders[1])


def _check_events(text: str, file: str, loader: Any) -> None:
    """Bound depth and length, and refuse tags, before anything recursive runs."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=loader)):
        mark = event.start_mark
        assert mark is not None
        place = (file, mark.line + 1, mark.column + 1)
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > MAX_DEPTH or count > 3 * MAX_NODES:
            what = f"nested at most {MAX_DEPTH} deep" if depth > MAX_DEPTH else f"at most {MAX_NODES} values"
            raise SpecError(Problem(f"must be {what}, but is more", "", "", *place))
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            rule = f"must be plain YAML, but holds the tag '{tag}'"
            raise SpecError(Problem(rule, "Remove the tag", "", *place))


class _Builder:
    def __init__(self, file: str):
        self.file = file
        self.problems: list[Problem] = []
        self.places: dict[KeyPath, tuple[int, int]] = {}
        self.key_places: dict[KeyPath, tuple[int, int]] = {}
        self._count = 0
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        mark = node.start_mark
        self.places[path] = (mark.line + 1, mark.column + 1)
        self._count += 1
        if self._count > MAX_NODES or len(path) > MAX_DEPTH or id(node) in self._open:
            rule = f"must be at most {MAX_NODES} values in {MAX_DEPTH} levels with aliases expanded, but is more"
            raise SpecError([*self.problems, self._problem(mark, path, rule)])
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, path)
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, child in node.value:
            mark = key.start_mark
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(self._problem(mark, path, "must have text as keys, but has a list or a mapping"))
                continue
            inner = (*path, key.value)
            if key.value in data:
                line = self.key_places[inner][0]
                rule = f"must be given once, but is given in line {line} already"
                self.problems.append(self._problem(mark, inner, rule))
                continue
            self.key_places[inner] = (mark.line + 1, mark.column + 1)
            if node.flow_style and _unbalanced(key):
                self.problems.append(self._comma(mark, path))
                break
            if node.flow_style and _unbalanced(child):
                self.problems.append(self._comma(child.start_mark, inner))
                break
            data[key.value] = self.build(child, inner)
        return data

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> list[Any]:
        data: list[Any] = []
        for i, child in enumerate(node.value):
            if node.flow_style and _unbalanced(child):
                self.problems.append(self._comma(child.start_mark, (*path, i)))
                break
            data.append(self.build(child, (*path, i)))
        return data

    def _comma(self, mark: yaml.Mark, path: KeyPath) -> Problem:
        rule = "must not hold a comma in YAML's flow style { … } or [ … ], where a comma ends the value, but does"
        return self._problem(mark, path, rule, "Put the expression in quotes or on a line of its own")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text = node.value
        if node.style:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _problem(self, mark: yaml.Mark, path: KeyPath, rule: str, remedy: str = "") -> Problem:
        return Problem(rule, remedy, spell_path(path), self.file, mark.line + 1, mark.column + 1)


def _unbalanced(node: yaml.Node) -> bool:
    plain = isinstance(node, yaml.ScalarNode) and not node.style
    return plain and node.value.count("(") != node.value.count(")")
