"""Maps that a protocol or a sequence asks for: what is wrong with them is told before anything is simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mrisim.data import Grid, Image, RawData
from mrisim.errors import MrisimError, Problem, SpecError
from mrisim.events.blocks import Sequence
from mrisim.mapping.fit import check_maps, check_series
from mrisim.protocol import Protocol
from mrisim.recon.placement import place
from mrisim.simulate._described import samples_of
from mrisim.units import LENGTH, show


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


def refuse_unsuited_series(protocol: Protocol, sequences: Mapping[str, tuple[Sequence, ...]]) -> None:
    """Refuse maps whose images will have settings that do not suit the fit.

    Args:
        protocol: Maps that name their scans.
        sequences: Of the runs of each scan.

    Raises:
        SpecError: all problems at once, each at its place.
    """
    problems = _unlike_runs(protocol, sequences)
    used = {str(spec.get("from", "")) for spec in protocol.maps.values()}
    series = {name: _blank(runs) for name, runs in sequences.items() if name in used}
    known = {name: image for name, image in series.items() if image is not None}
    for name, spec in protocol.maps.items():
        image = known.get(str(spec.get("from", "")))
        if image is not None:
            plain = {key: value for key, value in spec.items() if key != "from"}
            problems += [_in_protocol(problem, protocol) for problem in check_series({name: plain}, {"": image})]
    if not protocol.maps and len(sequences) == 1:
        problems += _of_its_own(next(iter(sequences.values())))
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))


def fits_of(protocol: Protocol, sequences: Mapping[str, tuple[Sequence, ...]]) -> set[str]:
    """Names of the fits of a run: those of the protocol or, where it has none, of its only sequence."""
    maps = protocol.maps
    if not maps and len(sequences) == 1:
        first = next(iter(sequences.values()))[0]
        maps = {} if first.recon is None else first.recon.maps
    return {str(spec.get("fit")) for spec in maps.values()}


def all_or_problems(*steps: Callable[[], Any]) -> list[Any]:
    """What some steps return, or all that is wrong with any of them at once.

    Raises:
        MrisimError: of the kind of the first step that fails.

    Example:
        >>> all_or_problems(lambda: 1, lambda: 2)
        [1, 2]
    """
    results: list[Any] = []
    errors: list[MrisimError] = []
    for step in steps:
        try:
            results.append(step())
        except MrisimError as error:
            errors.append(error)
    if errors:
        raise type(errors[0])(list(dict.fromkeys(problem for error in errors for problem in error.problems)))
    return results


def _unlike_runs(protocol: Protocol, sequences: Mapping[str, tuple[Sequence, ...]]) -> list[Problem]:
    """Scans whose runs make images on different grids, which are no series."""
    problems = []
    for name, runs in sequences.items():
        shapes = dict.fromkeys((seq.recon.matrix, seq.recon.fov) for seq in runs if seq.recon is not None)
        if len(shapes) > 1:
            shown = " and ".join(f"{matrix[0]} x {matrix[1]} over {show(fov[0], LENGTH)}" for matrix, fov in shapes)
            rule = f"must leave matrix and fov as they are, but makes images of {shown}"
            problem = Problem(rule, "Make them two scans", f"scans.{name}.each")
            problems.append(_in_protocol(problem, protocol))
    return problems


def _of_its_own(runs: tuple[Sequence, ...]) -> list[Problem]:
    """What of the images of a sequence does not suit the maps that its file names."""
    maps = runs[0].recon.maps if runs[0].recon is not None else {}
    image = _blank(runs) if maps else None
    if image is None:
        return []
    file = str(runs[0].source) if runs[0].source is not None else ""
    found = check_series(maps, {"": image})
    return [Problem(p.rule, p.remedy, path=f"recon.{p.path}", file=file) for p in found]


def _blank(runs: tuple[Sequence, ...]) -> Image | None:
    """What will be known of the images of a scan; None where only their reconstruction can tell."""
    parts = []
    for seq in runs:
        if seq.recon is None or seq.recon.method != "cartesian":
            return None
        k, time, table = samples_of(seq)  # which the simulation shares
        nothing = np.broadcast_to(np.complex64(0), (1, len(time)))
        raw = RawData(signal=nothing, k=k, time=time, readouts=table, geometry=seq.geometry, recon=seq.recon)
        try:
            parts.append(place(raw, seq.recon).coordinates)
        except MrisimError:
            return None
    coordinates = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    count = len(next(iter(coordinates.values())))
    return Image(
        data=np.zeros((count, 1, 1, 1), dtype=np.complex64),
        grid=Grid.of((1, 1, 1), (1.0, 1.0, 1.0)),
        coordinates=coordinates,
        sequence=runs[0],
        provenance={"b0": runs[0].system.b0, "gamma": runs[0].system.gamma},
    )


def _in_protocol(problem: Problem, protocol: Protocol) -> Problem:
    if protocol.source is None:
        return problem
    return protocol.source.problem(tuple(problem.path.split(".")), problem.rule, problem.remedy)
