"""Extensions of a Pulseq file: lists of labels, triggers, rotations and soft delays, per block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mrisim._types import Float, Int
from mrisim.errors import Finding, Problem, SpecError
from mrisim.events.blocks import SoftDelay, Trigger
from mrisim.io.pulseq.parse import MAX_ID, Parsed
from mrisim.io.pulseq.text import Extension, numbers
from mrisim.io.pulseq.waves import ranges

READ = ("LABELSET", "LABELINC", "TRIGGERS", "ROTATIONS", "DELAYS")
LONGEST_LIST = 1000  # entries of one block
MAX_ENTRIES = 5_000_000  # of all lists together
US = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Extras:
    """What the extensions of a file say."""

    labels: Mapping[str, Int[np.ndarray, " blocks"]]
    rotation: Int[np.ndarray, " blocks"]  # index into `rotations`, -1 for none
    rotations: Float[np.ndarray, "rotations 3 3"]
    triggers: tuple[Trigger, ...]
    soft_delays: tuple[SoftDelay, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Entries:
    """Entries of all lists that blocks refer to, in order."""

    block: Int[np.ndarray, " entries"]
    kind: Int[np.ndarray, " entries"]  # number of the extension in the file
    ref: Int[np.ndarray, " entries"]


def read_extensions(parsed: Parsed) -> Extras:
    """Labels, rotations, triggers and soft delays of all blocks.

    Raises:
        SpecError: a list that leads to itself or nowhere, rows that are broken, an unknown extension that the file
            requires.
    """
    known, findings = _known(parsed)
    entries = _entries(parsed, known)
    n = len(parsed.blocks)
    by_name = {one.name: one for one in known}
    rotations, rotation = np.zeros((0, 3, 3)), np.full(n, -1, dtype=np.int64)
    if "ROTATIONS" in by_name:
        rotations, rotation = _rotations(by_name["ROTATIONS"], entries, n)
    return Extras(
        labels=_labels(by_name, entries, n),
        rotation=rotation,
        rotations=rotations,
        triggers=_triggers(by_name["TRIGGERS"], entries) if "TRIGGERS" in by_name else (),
        soft_delays=_soft_delays(by_name["DELAYS"], entries, parsed) if "DELAYS" in by_name else (),
        findings=findings,
    )


def _known(parsed: Parsed) -> tuple[tuple[Extension, ...], tuple[Finding, ...]]:
    required = parsed.definitions.get("RequiredExtensions", "").split()
    there = {one.name: one for one in parsed.text.extensions}
    refused = [name for name in required if name not in READ]
    if refused:
        line = there[refused[0]].section.line if refused[0] in there else parsed.text.get("DEFINITIONS").line
        rule = f"must require extensions that are known, but requires {', '.join(refused)}"
        remedy = f"Known are {', '.join(READ)}; write the sequence without the others"
        raise SpecError(Problem(rule, remedy, "RequiredExtensions", parsed.text.file, line))
    findings = tuple(
        Finding("extension", f"{parsed.text.file} holds the extension {name}, which is skipped")
        for name in there
        if name not in READ
    )
    unnamed = np.setdiff1d(parsed.extensions["type"], [one.number for one in parsed.text.extensions])
    if len(unnamed):
        text = (
            f"{parsed.text.file} refers to extensions of type {ranges(unnamed)} without their names; they are skipped"
        )
        findings = (*findings, Finding("extension", text, "Write the file anew where they matter"))
    return tuple(one for name, one in there.items() if name in READ), findings


def _entries(parsed: Parsed, known: tuple[Extension, ...]) -> _Entries:
    """Entries of known kinds; each list is followed once."""
    blocks, table = parsed.blocks, parsed.extensions
    used = np.unique(blocks["ext"])
    used = used[used != 0]
    if len(used) == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return _Entries(block=nothing, kind=nothing, ref=nothing)
    table.rows(blocks["ext"], blocks.section, "an extension")
    after = table.rows(table["next"], table.section, "an extension")
    kinds = table["type"]
    lists = [_follow(int(row), after, parsed) for row in table.rows(used, blocks.section, "an extension")]
    users = np.flatnonzero(blocks["ext"] != 0)
    which = np.searchsorted(used, blocks["ext"][users])
    lengths = np.array([len(rows) for rows in lists])
    total = int(lengths[which].sum())
    if total > MAX_ENTRIES:
        raise table.section.error(f"must give blocks at most {MAX_ENTRIES} entries, but gives {total}")
    flat, first = np.concatenate([np.array(rows) for rows in lists]), np.cumsum(lengths) - lengths
    count = lengths[which]
    within = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
    row = flat[np.repeat(first[which], count) + within]
    numbers_known = np.array([one.number for one in known], dtype=np.int64)
    keep = np.isin(kinds[row], numbers_known)
    return _Entries(block=np.repeat(users, count)[keep], kind=kinds[row][keep], ref=table["ref"][row][keep])


def _follow(row: int, after: Int[np.ndarray, " rows"], parsed: Parsed) -> list[int]:
    rows: list[int] = []
    while row >= 0:
        rows.append(row)
        if len(rows) > LONGEST_LIST:
            rule = f"must list at most {LONGEST_LIST} entries, but leads on"
            raise parsed.extensions.section.error(rule, "Does it lead back to itself", row=row)
        row = int(after[row])
    return rows


def _places(extension: Extension, ids: Int[np.ndarray, " rows"], entries: _Entries) -> tuple[np.ndarray, np.ndarray]:
    """Block and row of each entry of an extension."""
    mine = entries.kind == extension.number
    order = np.argsort(ids, kind="stable")
    ref = entries.ref[mine]
    place = np.minimum(np.searchsorted(ids, ref, sorter=order), max(len(ids) - 1, 0))
    row = order[place] if len(ids) else np.zeros(len(ref), dtype=np.int64)
    known = (ids[row] == ref) if len(ids) else np.zeros(len(ref), dtype=bool)
    if not known.all():
        raise extension.section.error(f"must hold number {int(ref[~known][0])}, which a block refers to, but does not")
    return entries.block[mine], row


def _labels(by_name: Mapping[str, Extension], entries: _Entries, n: int) -> dict[str, Int[np.ndarray, " blocks"]]:
    """Value of each label in force at each block: all that it sets, then all that it adds, before it samples."""
    found = {name: _label_rows(by_name[name], entries) for name in ("LABELSET", "LABELINC") if name in by_name}
    names = dict.fromkeys(label for rows in found.values() for label in rows)
    labels = {}
    for label in names:
        block, value = found.get("LABELSET", {}).get(label, (np.zeros(0, dtype=np.int64),) * 2)
        inc_block, inc_value = found.get("LABELINC", {}).get(label, (np.zeros(0, dtype=np.int64),) * 2)
        added = np.zeros(n, dtype=np.int64)
        np.add.at(added, inc_block, inc_value)
        total = np.cumsum(added)
        put = np.zeros(n, dtype=np.int64)
        put[block] = value
        is_set = np.zeros(n, dtype=bool)
        is_set[block] = True
        last = np.maximum.accumulate(np.where(is_set, np.arange(n), -1))
        base = put[last] - (total[last] - added[last])
        labels[label] = total + np.where(last >= 0, base, 0)
    return labels


def _label_rows(extension: Extension, entries: _Entries) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Blocks and values of each label name."""
    ids, values, words = [], [], []
    for row, line in enumerate(extension.section.lines):
        parts = line.split()
        if len(parts) != 3 or not parts[0].isdecimal() or not _is_whole(parts[1]) or not parts[2].isidentifier():
            raise extension.section.error(f"must be 'number value LABEL', but is '{line[:60]}'", row=row)
        ids.append(int(parts[0]))
        values.append(int(parts[1]))
        words.append(parts[2].upper())
    block, row = _places(extension, np.array(ids, dtype=np.int64), entries)
    names, value = np.array(words, dtype=object), np.array(values, dtype=np.int64)
    result = {}
    for name in dict.fromkeys(words):
        mine = names[row] == name if len(row) else np.zeros(0, dtype=bool)
        if mine.any():
            result[name] = (block[mine], value[row[mine]])
    return result


def _is_whole(word: str) -> bool:
    digits = word[1:] if word[:1] in "+-" else word
    return digits.isdecimal() and len(digits) < 10


def _rotations(extension: Extension, entries: _Entries, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices of unit quaternions (scalar first), and the matrix of each block."""
    table = numbers(extension.section, 5)
    length = np.linalg.norm(table[:, 1:], axis=1)
    for row in np.flatnonzero(np.abs(length - 1) > 1e-3):
        raise extension.section.error(
            f"must be a quaternion of length 1, but has length {length[row]:.4g}", row=int(row)
        )
    w, x, y, z = (table[:, 1:] / length[:, None]).T
    matrices = np.stack([
        np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=-1),
        np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=-1),
        np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=-1),
    ], axis=-2)  # fmt: skip
    block, row = _places(extension, table[:, 0].astype(np.int64), entries)
    index = np.full(n, -1, dtype=np.int64)
    index[block] = row
    return matrices, index


def _triggers(extension: Extension, entries: _Entries) -> tuple[Trigger, ...]:
    table = numbers(extension.section, 5)
    block, row = _places(extension, table[:, 0].astype(np.int64), entries)
    return tuple(
        Trigger(
            int(b),
            int(table[r, 1]),
            int(table[r, 2]),
            float(np.round(table[r, 3] * US, 12)),
            float(np.round(table[r, 4] * US, 12)),
        )
        for b, r in zip(block.tolist(), row.tolist(), strict=True)
    )


def _soft_delays(extension: Extension, entries: _Entries, parsed: Parsed) -> tuple[SoftDelay, ...]:
    """Soft delays; each must stand in a block without events."""
    ids, rows = [], []
    for i, line in enumerate(extension.section.lines):
        parts = line.split()
        usual = len(parts) == 5 and parts[0].isdecimal() and _is_whole(parts[1])
        try:
            offset, factor = (float(parts[2]), float(parts[3])) if usual else (np.nan, np.nan)
        except ValueError:
            offset = factor = np.nan
        if not usual or not np.isfinite([offset, factor]).all() or factor == 0 or len(parts[0]) > 9:
            rule = f"must be 'number index offset factor NAME' with a factor that is not 0, but is '{line[:60]}'"
            raise extension.section.error(rule, row=i)
        ids.append(min(int(parts[0]), MAX_ID))
        rows.append((parts[4], int(parts[1]), factor, round(offset * US, 12)))
    block, row = _places(extension, np.array(ids, dtype=np.int64), entries)
    busy = np.any([parsed.blocks[name][block] != 0 for name in ("rf", "gx", "gy", "gz", "adc")], axis=0)
    if busy.any():
        at = int(block[busy][0])
        raise parsed.blocks.section.error("must have no event in a block with a soft delay, but has one", row=at)
    return tuple(SoftDelay(int(b), *rows[r]) for b, r in zip(block.tolist(), row.tolist(), strict=True))
