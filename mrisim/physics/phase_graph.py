"""Pieces of phase graphs: what a pulse does to configuration states.

Transverse magnetisation is M⁺(x) = Σ F(q) exp(-2πi q·x), longitudinal Mz(x) = Σ Z(q) exp(-2πi q·x), relative to
equilibrium 1; x holds place and, where it is told apart, off-resonance. A pulse acts at every x alike, so it mixes
F(q), conj F(-q) and Z(q) only.

Source: Weigel, J Magn Reson Imaging 41:266 (2015); signs are this package's (left-handed, exp(-2πi k·r)).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from mrisim._types import Array, Complex, Float

Triple = tuple[Complex[Array, "states sites"], Complex[Array, "states sites"], Complex[Array, "states sites"]]


class StateMap(NamedTuple):
    """An affine map of magnetisation in terms of states, one column per site.

    F' = a F + b G + c Z, Z' = d F + conj(d) G + e Z with G(q) = conj F(-q), and G' the mirror of F'; at q = 0 `gain`
    is added to F and `recovery` to Z.
    """

    a: Complex[Array, "*n"]
    b: Complex[Array, "*n"]
    c: Complex[Array, "*n"]
    d: Complex[Array, "*n"]
    e: Complex[Array, "*n"]
    gain: Complex[Array, "*n"]
    recovery: Complex[Array, "*n"]


def state_map(columns: Float[Array, "4 3 sites"]) -> StateMap:
    """A propagator, given as the images of the unit vectors x, y, z and of zero, in terms of states.

    Example:
        >>> import numpy as np
        >>> from mrisim.physics import bloch
        >>> still = state_map(bloch.identity_map(np.ones(1, np.float32)))
        >>> complex(still.a[0]), complex(still.b[0])
        ((1+0j), 0j)
    """
    x, y, z, zero = columns
    across, along = x[0] + 1j * x[1], y[0] + 1j * y[1]
    return StateMap(
        a=0.5 * (across - 1j * along),
        b=0.5 * (across + 1j * along),
        c=z[0] + 1j * z[1],
        d=0.5 * (x[2] - 1j * y[2]),
        e=z[2] + 0j,
        gain=zero[0] + 1j * zero[1],
        recovery=zero[2] + 0j,
    )


def turned(pulse: StateMap, before: Array, after: Array) -> StateMap:
    """The map between two turns about z: M⁺ is multiplied by the phasor `before` first and by `after` last."""
    return StateMap(
        a=pulse.a * before * after,
        b=pulse.b * before.conj() * after,
        c=pulse.c * after,
        d=pulse.d * before,
        e=pulse.e,
        gain=pulse.gain * after,
        recovery=pulse.recovery,
    )


def mix(pulse: StateMap, states: Triple) -> Triple:
    """States after a pulse; the first row is q = 0.

    Example:
        >>> import numpy as np
        >>> from mrisim.physics import bloch
        >>> still = state_map(bloch.identity_map(np.ones(1, np.float32)))
        >>> f, g, z = mix(still, (np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1))))
        >>> complex(z[0, 0])
        (1+0j)
    """
    f, g, z = states
    first = (jnp.arange(f.shape[0]) == 0)[:, None]
    return (
        pulse.a * f + pulse.b * g + pulse.c * z + first * pulse.gain,
        pulse.b.conj() * f + pulse.a.conj() * g + pulse.c.conj() * z + first * pulse.gain.conj(),
        pulse.d * f + pulse.d.conj() * g + pulse.e * z + first * pulse.recovery,
    )
