"""Soft delays: durations of empty blocks that a user sets by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mrisim.errors import Problem, SpecError
from mrisim.events.blocks import Parameter, Sequence
from mrisim.source import did_you_mean
from mrisim.units import TIME, parse, show


def set_delays(seq: Sequence, given: Mapping[str, Any]) -> Sequence:
    """The sequence with soft delays as given; each is a parameter of the sequence.

    A block with the soft delay of a value lasts value / factor + offset, on the block raster.

    Raises:
        SpecError: a name that is no soft delay, a value that is no time, or one that makes a block shorter than
            nothing; all at once.
    """
    names = dict.fromkeys(delay.name for delay in seq.soft_delays)
    problems = []
    for name in given:
        if name in names:
            continue
        fixed = "is fixed in a .seq file" if name in seq.parameters else "is none"
        remedy = did_you_mean(name, names) if names else "The file has no soft delay"
        if name in seq.parameters:
            remedy = "Write the file anew from its .yaml with --set"
        problems.append(Problem(f"must be a soft delay of the file, but {fixed}", remedy, name, seq.source))
    duration = seq.blocks.duration.copy()
    parameters = dict(seq.parameters)
    for name in names:
        mine = [delay for delay in seq.soft_delays if delay.name == name]
        value = (float(duration[mine[0].block]) - mine[0].offset) * mine[0].factor
        if name in given:
            try:
                value = parse(given[name], TIME)
            except SpecError as error:
                problems += [Problem(p.rule, p.remedy, name, seq.source) for p in error.problems]
                continue
            for delay in mine:
                raster = seq.system.block_raster
                lasts = round((value / delay.factor + delay.offset) / raster) * raster
                if not 0 <= lasts <= 86400:
                    least = -delay.offset * delay.factor
                    bound = f"at {'least' if delay.factor > 0 else 'most'} {show(least, TIME)}"
                    problems.append(Problem(f"must be {bound}, but is {show(value, TIME)}", path=name, file=seq.source))
                    break
                duration[delay.block] = round(lasts, 12)
        parameters[name] = Parameter(name, value, TIME, "soft delay", name not in given)
    if problems:
        raise SpecError(problems)
    return replace(seq, parameters=parameters, blocks=replace(seq.blocks, duration=duration))
