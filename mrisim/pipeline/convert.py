"""One file → another: a table of what can become what."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrisim.errors import Finding, Problem, SpecError
from mrisim.pipeline.kinds import kind_of


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A way from one kind of source to one suffix of target.

    `function` is "module:name" and is imported when it is used. It is called as function(source, target, **options)
    with those of `options` that were given, and returns findings. It writes the target atomically.
    """

    source: str  # a kind of `SOURCE_SUFFIXES`, or "sequence", "phantom", "protocol" for what the library names
    target: str  # suffix, with its dot
    function: str
    options: tuple[str, ...] = ()  # that it takes


SOURCE_SUFFIXES: Mapping[str, str] = {
    ".seq": "sequence",
    ".h5": "result",
    ".mrd": "ISMRMRD file",
    ".nii": "NIfTI file",
    ".nii.gz": "NIfTI file",
}
"""Kind of a source by its suffix; the longest that fits decides. Names of the library and YAML files: see `kind_of`."""

FOLDER = "/"
"""In place of a suffix: the target is a folder, because its name ends so or because it is one."""

CONVERSIONS: tuple[Conversion, ...] = (
    Conversion(
        source="sequence",
        target=".seq",
        function="mrisim.io.pulseq.write:convert",
        options=("set", "version", "rotations", "strict", "system", "use"),
    ),
    Conversion(source="result", target=".nii", function="mrisim.io.files:convert", options=("item",)),
    Conversion(source="result", target=".nii.gz", function="mrisim.io.files:convert", options=("item",)),
    Conversion(source="NIfTI file", target=".h5", function="mrisim.io.files:convert"),
    Conversion(source="result", target=".mrd", function="mrisim.io.mrd.write:convert_raw", options=("item",)),
    Conversion(source="ISMRMRD file", target=".h5", function="mrisim.io.mrd.write:convert_back"),
    Conversion(source="result", target=FOLDER, function="mrisim.io.files:convert_to_dicom", options=("item",)),
    Conversion(source="NIfTI file", target=FOLDER, function="mrisim.io.files:convert_to_dicom"),
)


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a conversion left: the file, and what the user must hear."""

    target: Path
    findings: tuple[Finding, ...] = field(default=())


def convert(source: str | Path, target: str | Path, **options: Any) -> Converted:
    """Convert a file, or a name of the library, to the format that the target's suffix names.

    Args:
        source: File, or name of the library.
        target: File to write, an existing one is replaced; or a folder, ending in /. Complete or not there at all.
        **options: Of this conversion, such as `set` (parameters by name), `version`, `strict`; None is not given.

    Returns:
        The target and the findings.

    Raises:
        SpecError: no such conversion, an option that it does not take, or a source that is wrong.
        ResourceError: the target cannot be written.

    Example:
        >>> convert("spin_echo", "spin_echo.docx")
        Traceback (most recent call last):
        mrisim.errors.SpecError: spin_echo.docx: must be a format that a sequence can become, but ends in '.docx'...
    """
    named = f"{Path(target).name}{FOLDER}" if str(target).endswith(("/", "\\")) or Path(target).is_dir() else ""
    target = Path(target)
    conversion = _conversion(source, target, named or target.name)
    given = {name: value for name, value in options.items() if value not in (None, (), {})}
    unused = sorted(set(given) - set(conversion.options))
    if unused:
        what = f"a {conversion.source} to {conversion.target}"
        rule = f"must be left out when converting {what}, but is given"
        raise SpecError([Problem(rule, "Remove it", path=name) for name in unused])
    module, _, name = conversion.function.partition(":")
    findings = getattr(importlib.import_module(module), name)(source, target, **given)
    return Converted(target=target, findings=tuple(findings))


def source_kind(source: str | Path) -> str:
    """Kind of what is to be converted.

    Raises:
        SpecError: neither a known suffix nor a name of the library.

    Example:
        >>> source_kind("scan.seq"), source_kind("brain")
        ('sequence', 'phantom')
    """
    return _by_suffix(Path(source).name, SOURCE_SUFFIXES) or kind_of(source)


def _by_suffix(name: str, table: Mapping[str, str]) -> str:
    fitting = [suffix for suffix in table if name.lower().endswith(suffix)]
    return table[max(fitting, key=len)] if fitting else ""


def _conversion(source: str | Path, target: Path, name: str) -> Conversion:
    kind = source_kind(source)
    fitting = [one for one in CONVERSIONS if one.source == kind]
    suffix = _by_suffix(name, {one.target: one.target for one in fitting})
    if suffix:
        return next(one for one in fitting if one.target == suffix)
    known = ", ".join(sorted(one.target if one.target != FOLDER else "folder/ (DICOM)" for one in fitting))
    rule = f"must be a format that a {kind} can become, but ends in '{target.suffix}'"
    raise SpecError(Problem(rule, f"Use one of {known}" if known else "Nothing is known yet", file=str(target)))
