"""Extensions of a sequence → lists and rows of a Pulseq file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mrisim._types import Float, Int
from mrisim.errors import Finding
from mrisim.events.blocks import NONE, Sequence
from mrisim.sequence.tables import unique_rows

LABELS = (
    "SLC", "SEG", "REP", "AVG", "SET", "ECO", "PHS", "LIN", "PAR", "ACQ", "TRID", "NAV", "REV", "SMS", "REF", "IMA",
    "OFF", "NOISE", "PMC", "NOROT", "NOPOS", "NOSCL", "ONCE",
)  # fmt: skip


@dataclass(kw_only=True)
class Lists:
    """Extension list of each block, its lines, and what could not be written."""

    block: Int[np.ndarray, " blocks"]
    lists: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass
class Numbered:
    """Rows of one extension, each kind once, numbered from 1."""

    name: str
    head: str
    rows: dict[str, int] = field(default_factory=dict)

    def add(self, row: str) -> int:
        return self.rows.setdefault(row, len(self.rows) + 1)

    def lines(self) -> list[str]:
        return [f"{number} {row}" for row, number in self.rows.items()]


def extension_lines(seq: Sequence, rotated: Sequence | None, *, new: bool) -> tuple[Lists, list[tuple[str, list[str]]]]:
    """Lists and rows of labels, triggers, soft delays and rotations.

    Args:
        seq: What is written.
        rotated: Sequence whose blocks carry their rotation as an extension; None: gradients are on physical axes.
        new: Version 1.5, which knows soft delays.

    Returns:
        Lists, and head and rows of each extension.
    """
    kinds = [Numbered(name, "") for name in ("LABELSET", "TRIGGERS", "DELAYS", "ROTATIONS")]
    sets, triggers, delays, rotations = kinds
    result = Lists(block=np.zeros(len(seq.blocks), dtype=np.int64))
    columns = [*_label_columns(seq, sets, result.findings)]
    kind_of = [sets] * len(columns)
    for events, kind in (
        (_trigger_columns(seq, triggers), triggers),
        (_delay_columns(seq, delays, new, result), delays),
    ):
        columns += events
        kind_of += [kind] * len(events)
    if rotated is not None:
        columns.append(_rotation_column(rotated, rotations))
        kind_of.append(rotations)
    used = [kind for kind in kinds if kind.rows]
    number = {id(kind): i for i, kind in enumerate(used, start=1)}
    if not used:
        return result, []
    table = np.stack(columns, axis=1)
    busy = np.flatnonzero(table.any(axis=1))
    first, index = unique_rows(table[busy].astype(float))
    heads: dict[tuple, int] = {}
    chains = []
    for row in table[busy[first]].tolist():
        entries = [(number[id(kind)], ref) for kind, ref in zip(kind_of, row, strict=True) if ref]
        chains.append(_chain(entries, heads, result.lists))
    result.block[busy] = np.array(chains, dtype=np.int64)[index]
    return result, [(f"extension {kind.name} {number[id(kind)]}", kind.lines()) for kind in used]


def _chain(entries: list[tuple[int, int]], heads: dict[tuple, int], lines: list[str]) -> int:
    """Number of a list; lists share their ends."""
    after = 0
    for kind, ref in reversed(entries):
        key = (kind, ref, after)
        if key not in heads:
            heads[key] = len(heads) + 1
            lines.append(f"{heads[key]} {kind} {ref} {after}")
        after = heads[key]
    return after


def _label_columns(seq: Sequence, kind: Numbered, findings: list[Finding]) -> list[Int[np.ndarray, " blocks"]]:
    """Row of LABELSET of each block where a label changes, one column per label."""
    columns = []
    for name, values in seq.blocks.labels.items():
        if name not in LABELS:
            findings.append(Finding("labels", f"the label {name} is none of Pulseq's, which readers may refuse"))
        changes = np.diff(values, prepend=0) != 0
        column = np.zeros(len(values), dtype=np.int64)
        known, index = np.unique(values[changes], return_inverse=True)
        column[changes] = np.array([kind.add(f"{value} {name}") for value in known.tolist()], dtype=np.int64)[index]
        if len(values) and not changes.any():
            column[0] = kind.add(f"{int(values[0])} {name}")
        columns.append(column)
    return columns


def _trigger_columns(seq: Sequence, kind: Numbered) -> list[Int[np.ndarray, " blocks"]]:
    columns: list[np.ndarray] = []
    for one in seq.triggers:
        row = kind.add(f"{one.kind} {one.channel} {one.delay * 1e6:.12g} {one.duration * 1e6:.12g}")
        free = next((c for c in columns if c[one.block] == 0), None)
        if free is None:
            free = np.zeros(len(seq.blocks), dtype=np.int64)
            columns.append(free)
        free[one.block] = row
    return columns


def _delay_columns(seq: Sequence, kind: Numbered, new: bool, result: Lists) -> list[Int[np.ndarray, " blocks"]]:
    if not seq.soft_delays:
        return []
    if not new:
        result.findings.append(Finding("soft delays", "version 1.4.1 has none; the blocks keep their durations"))
        return []
    column = np.zeros(len(seq.blocks), dtype=np.int64)
    for one in seq.soft_delays:
        column[one.block] = kind.add(f"{one.number} {one.offset * 1e6:.12g} {one.factor:.12g} {one.name}")
    return [column]


def _rotation_column(seq: Sequence, kind: Numbered) -> Int[np.ndarray, " blocks"]:
    """Row of the rotation from the axes of the gradients to the physical ones."""
    matrices = seq.geometry.rotation @ np.concatenate([seq.rotations.reshape(-1, 3, 3), np.eye(3)[None]])
    playing = np.any([getattr(seq.blocks, axis) != NONE for axis in ("gx", "gy", "gz")], axis=0)
    rows = []
    for matrix in matrices:
        plain = np.allclose(matrix, np.eye(3), atol=1e-12)
        rows.append(0 if plain else kind.add(" ".join(f"{v:.15g}" for v in quaternion(matrix))))
    return np.where(playing, np.array(rows, dtype=np.int64)[seq.blocks.rotation], 0)


def quaternion(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " 4"]:
    """Unit quaternion of a rotation, scalar first and not below 0.

    Source:
        Shepperd, J Guidance and Control 1:223 (1978).

    Example:
        >>> quaternion(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])).round(6).tolist()
        [0.707107, 0.0, 0.0, 0.707107]
    """
    m = matrix
    trace = np.trace(m)
    squares = np.array([trace, m[0, 0], m[1, 1], m[2, 2]])
    pick = int(squares.argmax())
    if pick == 0:
        found = np.array([1 + trace, m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    else:
        i, j, k = pick - 1, pick % 3, (pick + 1) % 3
        found = np.zeros(4)
        found[0] = m[k, j] - m[j, k]
        found[1 + i] = 1 + 2 * m[i, i] - trace
        found[1 + j] = m[i, j] + m[j, i]
        found[1 + k] = m[i, k] + m[k, i]
    found = found / np.linalg.norm(found)
    return found if found[0] >= 0 else -found
