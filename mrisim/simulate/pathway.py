"""Diffusion of isochromats at rest: along the coherence pathway that forms each echo, by its b-matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mrisim._types import Bool, Float, Int
from mrisim.data import Phantom, ReadoutTable
from mrisim.errors import Finding
from mrisim.events.blocks import Use
from mrisim.program import Program

_WEIGHTED = 20e6  # b value from which it matters that spins diffuse [s/m²]
_MOST_REFOCUSING = 2  # pulses of an excitation: a longer train lives on the pathways that are left out
_COLUMNS = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))  # xx, yy, zz, xy, xz, yz
_TWICE = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


class Pathway(NamedTuple):
    """What diffusion does along the pathway of each echo."""

    weighting: Float[np.ndarray, "steps 6"]  # b-matrix of each step's readout, off-diagonal parts twice [1e9 s/m²]
    echo_only: Bool[np.ndarray, " steps"]  # refocusing pulses that pass nothing but what they mirror


def find_pathway(program: Program, readouts: ReadoutTable, phantom: Phantom) -> Pathway | None:
    """The pathway; None where nothing diffuses, the sequence weights diffusion by less than 20 s/mm², or in a train.

    Steady states hold many pathways, and the b-matrix is that of one. Lobes wind a phase of tens of cycles per mm,
    which no number of isochromats resolves: what a refocusing pulse does not mirror would come back at random, while
    in tissue diffusion and the lobes leave nothing of it. So it is left out. Trains of more than two refocusing
    pulses live on what is left out here: their spins stay where they are, and a finding says so.
    """
    if not weights(readouts, phantom) or _longest_train(program) > _MOST_REFOCUSING:
        return None
    b = np.nan_to_num(np.asarray(readouts.b_matrix))
    weighting = np.zeros((program.n_steps, 6))
    for readout in program.readouts:
        row = np.searchsorted(readouts.start, readout.first, side="right") - 1
        weighting[readout.step] = b[row][:, _COLUMNS[0], _COLUMNS[1]] * _TWICE
    return Pathway(weighting=weighting * 1e-9, echo_only=_uses(program) == Use.REFOCUSING)


def weights(readouts: ReadoutTable, phantom: Phantom) -> bool:
    """Whether a sequence weights the diffusion of a phantom."""
    b = np.nan_to_num(np.asarray(readouts.b_matrix))
    return bool(np.any(phantom.diffusion)) and float(np.trace(b, axis1=1, axis2=2).max(initial=0.0)) >= _WEIGHTED


def _uses(program: Program) -> Int[np.ndarray, " steps"]:
    """Use of each step's pulse, -1 without one."""
    return np.append(program.pulses.use, -1)[program.steps.pulse]


def _longest_train(program: Program) -> int:
    """Most refocusing pulses of one excitation."""
    use = _uses(program)
    return int(np.bincount(np.cumsum(use == Use.EXCITATION), use == Use.REFOCUSING).max(initial=0))


def diffusion_findings(pathway: Pathway | None, weighted: bool) -> tuple[Finding, ...]:
    """What is left out where diffusion is weighted."""
    if not weighted:
        return ()
    if pathway is None:
        text = "spins stay where they are, although the sequence weights diffusion: its trains hold many pathways"
        return (Finding("diffusion", text, "Use engine='epg', in which they diffuse"),)
    text = "diffusion acts along the pathway of each echo, by its b-matrix, and other pathways are left out"
    return (Finding("diffusion", text, "Use engine='epg' to follow every pathway"),)
