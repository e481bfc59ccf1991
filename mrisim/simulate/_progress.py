"""What a run tells of itself meanwhile: chunks that are done, and seconds spent on compilation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

_MOST_MAPS = 45_000

Progress = bool | Callable[[int, int], None]


@contextmanager
def compile_clock() -> Iterator[list[float]]:
    """Seconds that XLA spends on compilation meanwhile."""
    spent = [0.0]

    def listen(event: str, duration: float, **_: object) -> None:
        if event.startswith("/jax/core/compile/"):
            spent[0] += duration

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield spent
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def spare_maps(most: int | None = None) -> None:
    """Forget compiled programs before the memory maps of the process run out.

    Each structure of a scan that XLA compiles takes about 130 of the 65,530 that Linux gives, and without one more a
    process dies inside XLA. What is needed again is compiled again, or read from the compile cache.
    """
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > (_MOST_MAPS if most is None else most):
        jax.clear_caches()


@contextmanager
def advancer(progress: Progress, total: int) -> Iterator[Callable[[int], None]]:
    """A function that reports finished chunks."""
    if callable(progress):
        done = 0

        def report(n: int) -> None:
            nonlocal done
            done += n
            progress(done, total)

        yield report
    elif progress:
        from rich.progress import Progress as Bar

        with Bar(transient=True) as bar:
            task = bar.add_task("Simulating", total=total)
            yield lambda n: bar.advance(task, n)
    else:
        yield lambda n: None
