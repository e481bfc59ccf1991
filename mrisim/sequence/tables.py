"""Tables of unique events out of what every leaf of the timeline asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mrisim._types import Int

DIGITS = 12  # significant digits that tell two values apart


def unique_rows(rows: np.ndarray) -> tuple[Int[np.ndarray, " unique"], Int[np.ndarray, " rows"]]:
    """First row of each kind, in order of appearance, and the kind of each row.

    Args:
        rows: (rows, columns), rounded as far as they are to be told apart.

    Example:
        >>> [part.tolist() for part in unique_rows(np.array([[2.0], [1.0], [2.0]]))]
        [[0, 1], [0, 1, 0]]
    """
    if len(rows) == 0:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    varying = [column for column in (rows + 0.0).T if np.ptp(column) > 0]
    codes = np.zeros(len(rows), dtype=np.int64)
    for column in varying:
        values, inverse = np.unique(column, return_inverse=True)
        codes = np.unique(codes * len(values) + inverse.ravel(), return_inverse=True)[1].ravel()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.ravel()]


def rounded(values: np.ndarray) -> np.ndarray:
    """Values to `DIGITS` digits of the largest."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0 or not np.isfinite(largest):
        return values
    scale = 10.0 ** np.ceil(np.log10(largest))
    return np.round(values / scale, DIGITS) * scale


@dataclass
class TableBuilder:
    """Collects rows of named columns, leaf by leaf, and keeps each kind once."""

    names: tuple[str, ...]
    columns: list[np.ndarray] = field(default_factory=list)  # each (columns, rows)
    blocks: list[np.ndarray] = field(default_factory=list)

    def add(self, blocks: Int[np.ndarray, " rows"], **columns: np.ndarray | float) -> None:
        """Rows of one leaf: the blocks that they belong to, and a value or a scalar per column."""
        rows = np.empty((len(self.names), len(blocks)))
        for i, name in enumerate(self.names):
            rows[i] = columns[name]
        self.columns.append(rows)
        self.blocks.append(blocks)

    def finish(self, n_blocks: int) -> tuple[dict[str, np.ndarray], Int[np.ndarray, " blocks"]]:
        """Columns of the unique rows, and the row of each block, -1 for none."""
        index = np.full(n_blocks, -1, dtype=np.int64)
        if not self.columns:
            return {name: np.zeros(0) for name in self.names}, index
        table = np.concatenate(self.columns, axis=1)
        keys = np.stack([rounded(np.where(np.isinf(row), -1.0, row)) for row in table], axis=1)
        first, kind = unique_rows(keys)
        index[np.concatenate(self.blocks)] = kind
        return dict(zip(self.names, table[:, first], strict=True)), index
