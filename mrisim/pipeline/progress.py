"""What a run is doing, for whoever watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

Watch = Callable[[str, float], None]
"""Called with what is going on and the share that is done, 0 to 1."""


class Clock:
    """Seconds per phase, and the share of the run that is done."""

    def __init__(self, total: int, watch: Watch | None):
        self.seconds: dict[str, float] = {}
        self._total, self._done, self._watch = max(total, 1), 0.0, watch

    @contextmanager
    def phase(self, name: str, what: str, weight: float = 0.0) -> Iterator[None]:
        """Count the time of a block to a phase; `weight` runs are done when it ends."""
        if self._watch is not None:
            self._watch(what, self._done / self._total)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
            self._done = min(self._done + weight, self._total)

    def inside(self, what: str) -> Callable[[int, int], None] | bool:
        """Progress within one run, as `simulate` reports it."""
        watch = self._watch
        if watch is None:
            return False
        return lambda done, total: watch(what, (self._done + done / max(total, 1)) / self._total)

    def note(self, text: str) -> None:
        """Say something that stays on the terminal."""
        if isinstance(self._watch, Bar):
            self._watch.note(text)
        elif self._watch is not None:
            self._watch(text, self._done / self._total)

    def move(self, source: str, target: str, seconds: float) -> None:
        """Count a part of one phase to another."""
        seconds = min(seconds, self.seconds.get(source, 0.0))
        self.seconds[source] = self.seconds.get(source, 0.0) - seconds
        self.seconds[target] = self.seconds.get(target, 0.0) + seconds


class Bar:
    """A bar on the terminal."""

    def __init__(self, update: Watch, note: Callable[[str], None]):
        self._update, self.note = update, note

    def __call__(self, what: str, share: float) -> None:
        self._update(what, share)


@contextmanager
def watching(progress: bool | Watch) -> Iterator[Watch | None]:
    """A function to report to: the caller's own, a bar on the terminal, or none."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    done, left = TimeElapsedColumn(), TimeRemainingColumn()
    columns = (TextColumn("{task.description:<28}"), BarColumn(), done, TextColumn("· left"), left)
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        show = partial(console.print, highlight=False, markup=False)
        yield Bar(lambda what, share: bar.update(task, description=what, completed=share), show)
