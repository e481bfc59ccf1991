"""What a long run has summed so far, on disk: a run that finds its own goes on behind the last finished chunk."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from pathlib import Path

import jax
import numpy as np

from mrisim._types import Complex
from mrisim.errors import ConsistencyError, Problem, ResourceError

EVERY = float(os.environ.get("MRISIM_CHECKPOINT_SECONDS", "10"))  # between two writings
_SELDOM = 20  # times as long as a writing takes
_NAMES = ("key", "chunk", "done", "total", "trains", "emitted")


class Checkpoint:
    """Sum over the first chunks of a run. Sums are made in order, so a run that was continued is equal bit for bit."""

    def __init__(self, path: str | Path, key: str):
        """
        Args:
            path: File; written beside and renamed, so that it is whole whenever it is there.
            key: What the run is, from `digest`.

        Raises:
            ConsistencyError: the file is another run's, or no checkpoint.
        """
        self.path, self._key, self._written = Path(path), key, time.monotonic()
        self.chunk: int | None = None  # largest chunk of the run that began
        self.done = 0
        self._total: Complex[np.ndarray, "coils samples"] | None = None
        self.trains: tuple[int, ...] | None = None  # classes that are transformed after all chunks, and not yet are
        self.emitted: Complex[np.ndarray, "rows spins"] = np.zeros((0, 0), complex)  # for them, of the first chunks
        self._took = 0.0
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        try:
            with open(self.path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                key, chunk, done, total, trains, emitted = (file[name] for name in _NAMES)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise self._refused("must be a checkpoint, but is not") from None
        if str(key) != self._key:
            raise self._refused("must belong to this run, but is another one's")
        self.chunk, self.done, self._total = int(chunk), int(done), np.array(total, dtype=complex)
        self.trains, self.emitted = tuple(int(index) for index in trains), np.array(emitted)

    def total(self, shape: tuple[int, int]) -> Complex[np.ndarray, "coils samples"]:
        """Sum to go on from."""
        return np.zeros(shape, dtype=complex) if self._total is None else self._total

    def due(self) -> bool:
        """Whether it is time to write; what takes long is written less often."""
        return time.monotonic() - self._written > max(EVERY, _SELDOM * self._took)

    def write(
        self,
        chunk: int,
        done: int,
        total: Complex[np.ndarray, "coils samples"],
        trains: tuple[int, ...] = (),
        emitted: Complex[np.ndarray, "rows spins"] | None = None,
    ) -> None:
        """Keep the sum over the first chunks, and what they emitted for trains that are transformed after all chunks.

        Raises:
            ResourceError: the place cannot be written.
        """
        begin = time.monotonic()
        kept = {"trains": np.array(trains, dtype=int), "emitted": np.zeros((0, 0)) if emitted is None else emitted}
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            with open(beside, "wb") as file:
                np.savez(file, key=self._key, chunk=chunk, done=done, total=total, **kept)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            rule = f"must be writable, but is not ({error.strerror})"
            raise ResourceError(Problem(rule, "Choose another place", path="checkpoint", file=str(self.path))) from None
        self._written = time.monotonic()
        self._took = self._written - begin

    def _refused(self, rule: str) -> ConsistencyError:
        return ConsistencyError(Problem(rule, "Delete it to begin anew", path="checkpoint", file=str(self.path)))


def digest(*parts: object) -> str:
    """What a run is: of arrays, numbers and texts, nested as they like."""
    total = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(parts):
        values = np.ascontiguousarray(leaf) if isinstance(leaf, (np.ndarray, jax.Array)) else None
        total.update(repr(leaf).encode() if values is None else str((values.shape, values.dtype)).encode())
        if values is not None:
            total.update(values.tobytes())
    return total.hexdigest()
