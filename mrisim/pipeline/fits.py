"""Maps that a protocol or a sequence asks for: what is wrong with them is told before anything is simulated."""

from __future__ import annotations

from collections.abc import Iterable

from mrisim.errors import Problem, SpecError
from mrisim.events.blocks import Sequence
from mrisim.mapping.fit import check_maps
from mrisim.protocol import Protocol


def refuse_wrong_fits(protocol: Protocol | None, sequences: Iterable[Sequence]) -> None:
    """Refuse maps that no fit gives, unknown fits and their options.

    Args:
        protocol: Its maps count, where it has any.
        sequences: Otherwise those of the sequences do.

    Raises:
        SpecError: all problems at once, each at its place.
    """
    problems: list[Problem] = []
    if protocol is not None and protocol.maps:
        problems = [_in_protocol(problem, protocol) for problem in check_maps(protocol.maps)]
    else:
        for seq in sequences:
            maps = seq.recon.maps if seq.recon is not None else {}
            file = str(seq.source) if seq.source is not None else ""
            problems += [Problem(p.rule, p.remedy, path=f"recon.{p.path}", file=file) for p in check_maps(maps)]
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))


def _in_protocol(problem: Problem, protocol: Protocol) -> Problem:
    if protocol.source is None:
        return problem
    return protocol.source.problem(tuple(problem.path.split(".")), problem.rule, problem.remedy)
