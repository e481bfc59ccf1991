"""Maps that a protocol or a sequence asks for: what is wrong with them is told before anything is simulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mrisim.data import Grid, Image, RawData
from mrisim.errors import MrisimError, Problem, SpecError
from mrisim.events.blocks import Sequence
from mrisim.mapping.fit import check_maps, check_series
from mrisim.protocol import Protocol
from mrisim.recon.placement import place
from mrisim.simulate._described import samples_of


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
    used = {str(spec.get("from", "")) for spec in protocol.maps.values()}
    series = {name: _blank(runs) for name, runs in sequences.items() if name in used}
    known = {name: image for name, image in series.items() if image is not None}
    problems = []
    for name, spec in protocol.maps.items():
        image = known.get(str(spec.get("from", "")))
        if image is not None:
            plain = {key: value for key, value in spec.items() if key != "from"}
            problems += [_in_protocol(problem, protocol) for problem in check_series({name: plain}, {"": image})]
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))


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
