"""What a run tells of itself meanwhile: chunks that are done, and seconds spent on compilation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

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
