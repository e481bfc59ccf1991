"""Sequences by name or file: specifications in YAML, and Pulseq files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mrisim.data import RawData
from mrisim.errors import ConsistencyError, Problem, SpecError
from mrisim.events.blocks import NONE, Sequence, Use
from mrisim.events.readouts import readout_table
from mrisim.scanner import Scanner

STRAIGHT = 1e-6  # one minus the cosine of the angle between two axes that count as one
LARGEST_FOV = 5.0  # above it the definition is not in meters [m]


def load_sequence(
    name_or_path: str | Path,
    *,
    strict: bool = False,
    system: str | Path | Scanner | None = None,
    use: Mapping[str, Iterable[int]] | None = None,
    **parameters: Any,
) -> Sequence:
    """Load a sequence from the library, a .yaml file or a Pulseq .seq file.

    Args:
        name_or_path: Name in the library, such as "flash_2d", or path of a .yaml or .seq file.
        strict: Refuse a .seq file whose signature or definitions are wrong, where a finding says so otherwise.
        system: Scanner of a .seq file: a name in the library, a .yaml file, or a `Scanner`.
        use: What pulses of a .seq file are for, by their numbers there, such as {"refocusing": [2, 3]}.
        **parameters: Values of the sequence's parameters by name (of a .seq file, its soft delays): SI numbers, or text
            with a unit.

    Returns:
        The resolved event blocks.

    Raises:
        SpecError: everything that is wrong with the file or the parameters.
        TimingError: timing constraints that cannot be met; the message names what could be.
        ResourceError: a file that cannot be read.

    Example:
        >>> load_sequence("flash_2d", TE="6 ms").parameters["TE"].value
        0.006
    """
    if is_pulseq(name_or_path):
        from mrisim.io.pulseq.read import read_sequence

        scanner = system if system is None or isinstance(system, Scanner) else load_system(system)
        return read_sequence(name_or_path, strict=strict, system=scanner, use=use, parameters=parameters)
    given = [name for name, value in (("strict", strict), ("system", system), ("use", use)) if value]
    if given:
        rule = "must be left out for a sequence in YAML, but is given"
        raise SpecError([Problem(rule, "State it in the file", path=name) for name in given])
    from mrisim.sequence import load_sequence as from_yaml

    return from_yaml(name_or_path, **parameters)


def is_pulseq(name_or_path: str | Path) -> bool:
    """Whether a path names a Pulseq file.

    Example:
        >>> is_pulseq("scan.seq"), is_pulseq("t2_tse")
        (True, False)
    """
    return Path(name_or_path).suffix.lower() == ".seq"


def load_system(name_or_path: str | Path) -> Scanner:
    """Scanner of a file, or of a name in the library.

    Args:
        name_or_path: Name such as "default_3t", or path of a .yaml file like sequences/systems/default_3t.yaml.

    Raises:
        SpecError: no such name, keys or values that are none.
        ResourceError: the file cannot be read.

    Example:
        >>> load_system("default_3t").b0
        3.0
    """
    from mrisim.sequence.library import load_system as from_yaml

    return from_yaml(name_or_path)


def with_images(seq: Sequence) -> Sequence:
    """A sequence of a foreign file on the logical axes of its images, with the recon part that its trajectory implies.

    As it is, where it has a recon part, samples nothing, or samples no parallel lines.
    """
    from mrisim.io.pulseq.axes import to_logical
    from mrisim.recon.infer import infer_recon

    n = int(readout_table(seq).count.sum())
    if seq.recon is not None or n == 0:
        return seq
    k, time = seq.kspace()
    raw = RawData(
        signal=np.broadcast_to(np.complex64(0), (1, n)),
        k=k,
        time=time,
        readouts=readout_table(seq),
        provenance=known_of_images(seq),
    )
    try:
        found = infer_recon(raw).raw
    except ConsistencyError:
        return seq
    turned = to_logical(seq, found.geometry)
    along = found.geometry.rotation[np.maximum(seq.rf.slice_axis, 0)]  # of each pulse, on the logical axes
    axis = np.abs(along).argmax(axis=1)
    cosine = along[np.arange(len(axis)), axis]
    straight = (seq.rf.slice_axis != NONE) & (np.abs(cosine) > 1 - STRAIGHT)
    rf = replace(
        turned.rf,
        slice_axis=np.where(straight, axis, NONE),
        thickness=np.where(straight, seq.rf.thickness, np.inf),
        position=np.where(straight, seq.rf.position * np.sign(cosine), 0.0),
    )
    return replace(turned, rf=rf, recon=found.recon)


def known_of_images(seq: Sequence) -> dict[str, Any]:
    """What a sequence without a recon part tells about its images: `fov` of its definitions [m], and `slices`, by label
    SLC, with `positions` and `thickness` [m] where its excitations select some.
    """
    known: dict[str, Any] = {}
    words = seq.definitions.get("FOV", "").split()
    try:
        fov = [float(word) for word in words]
    except ValueError:
        fov = []
    if len(fov) == 3 and all(0 < value < LARGEST_FOV for value in fov):
        known["fov"] = fov
    excites = np.append((seq.rf.use == Use.EXCITATION) & (seq.rf.slice_axis != NONE), False)[seq.blocks.rf]
    rows = np.flatnonzero(excites)
    if len(rows) == 0:
        return known
    label = seq.blocks.labels.get("SLC", np.zeros(len(seq.blocks), dtype=int))[rows]
    event = seq.blocks.rf[rows]
    if label.min() == 0 and label.max() < len(rows):
        first = [np.flatnonzero(label == number)[:1] for number in range(int(label.max()) + 1)]
        if all(len(one) for one in first):
            positions = [float(seq.rf.position[event[one[0]]]) for one in first]
            known["slices"] = {"positions": positions, "thickness": float(np.median(seq.rf.thickness[event]))}
    return known
