"""Diffusion of isochromats at rest: along the coherence pathway that forms each echo, by its b-matrix."""

from __future__ import annotations

import numpy as np

from mrisim._types import Float
from mrisim.data import Phantom, ReadoutTable
from mrisim.errors import Finding
from mrisim.program import Program

_WEIGHTED = 20e6  # b value from which it matters that spins diffuse [s/m²]
_COLUMNS = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))  # xx, yy, zz, xy, xz, yz
_TWICE = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


def pathway_weighting(
    program: Program, readouts: ReadoutTable, phantom: Phantom
) -> Float[np.ndarray, "steps 6"] | None:
    """b-matrix of each step's readout, so that its product with a tensor is the exponent [1e9 s/m²].

    None where nothing diffuses, or the sequence weights diffusion by less than 20 s/mm²: steady states hold many
    pathways, and the b-matrix is that of one.
    """
    b = np.nan_to_num(np.asarray(readouts.b_matrix))
    strongest = float(np.trace(b, axis1=1, axis2=2).max(initial=0.0))
    if strongest < _WEIGHTED or not np.any(phantom.diffusion):
        return None
    weighting = np.zeros((program.n_steps, 6))
    for readout in program.readouts:
        row = np.searchsorted(readouts.start, readout.first, side="right") - 1
        weighting[readout.step] = b[row][:, _COLUMNS[0], _COLUMNS[1]] * _TWICE
    return weighting * 1e-9


def pathway_findings(weighting: object) -> tuple[Finding, ...]:
    """What is left out where diffusion acts along one pathway."""
    if weighting is None:
        return ()
    text = "diffusion acts along the pathway of each echo, by its b-matrix, and on no other that reaches it"
    return (Finding("diffusion", text, "Use engine='epg' to follow every pathway"),)
