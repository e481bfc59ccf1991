"""Labels, merging and maps of the phase graph; what it refuses."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from physics.build import ADC, DEG, MS, RF, Block, build, lobe, spins

from mrisim.engines.epg_graph import Cells, Labels, gather, merge
from mrisim.engines.epg_sites import find_sites
from mrisim.errors import ConsistencyError, ResourceError
from mrisim.phantom.sampling import Sampling
from mrisim.physics.phase_graph import mix, state_map
from mrisim.program import lower
from mrisim.simulate import simulate

CELLS = Cells(side=np.array([1e-3, 1e-3, 1e-3, 1e-9]))


def train(n: int = 3, **more):
    parts = [
        Block(duration=5 * MS, rf=RF(flip=50 * DEG, phase=i), gx=lobe(300.0, 0.1 * MS, 2 * MS), adc=ADC(at=4 * MS))
        for i in range(n)
    ]
    return build(parts, **more)


def test_opposite_labels_share_a_state():
    q = np.array([[0, 0, 0, 0], [100.0, 0, 0, 0.005]])
    found, passage = merge(Labels.of(q).moved(np.array([-100.0, 0, 0, -0.005])), CELLS)
    assert len(found) == 3  # 0, ±100 and ±200
    assert not found[0].any()
    values = np.array([[1.0], [2.0], [0.0], [3.0]])  # F at -100 and 0, nothing, F at -200
    f, g = gather(values, passage.f)[:, 0], gather(values, passage.g)[:, 0]
    assert f[0] == g[0] == 2.0
    assert sorted(g[1:]) == [1.0, 3.0]
    assert not f[1:].any()


def test_labels_within_a_cell_add_up():
    labels = Labels(f=np.array([[50.0, 0, 0, 0], [50.0 + 1e-6, 0, 0, 0]]), g=np.full((2, 4), -7.0), z=np.zeros((2, 4)))
    _, passage = merge(labels, CELLS)
    f = gather(np.array([[1.0], [2.0], [0.0], [0.0]]), passage.f)
    assert sorted(f[:, 0]) == [0.0, 0.0, 3.0]


def test_map_of_states_is_the_map_of_vectors():
    """One state at q = 0 is a plain magnetisation vector."""
    generator = np.random.default_rng(3)
    columns, m = generator.normal(size=(4, 3, 2)), generator.normal(size=(3, 2))
    with jax.enable_x64(True):
        f = jnp.asarray(m[0] + 1j * m[1])[None]
        after, mirror, z = mix(state_map(jnp.asarray(columns)), (f, f.conj(), jnp.asarray(m[2] + 0j)[None]))
        expected = np.einsum("jis,js->is", columns[:3], m) + columns[3]
    assert np.asarray(after[0]) == pytest.approx(expected[0] + 1j * expected[1], abs=1e-13)
    assert np.asarray(mirror) == pytest.approx(np.conj(after), abs=1e-13)
    assert np.asarray(z[0]) == pytest.approx(expected[2], abs=1e-13)


def test_isochromats_of_a_voxel_become_one_site():
    inside = spins(position=np.array([[1e-3, 0, 0], [-1e-3, 0, 0], [9e-3, 0, 0]]), t1=1.0, t2=0.1, df=[1.0, 3.0, 5.0])
    sampled = replace(inside, sampling=Sampling(extent=(0.02,) * 3, voxel=(4e-3,) * 3))
    sites = find_sites(sampled, lower(train()), shaped=False)
    assert sites.spins.df.tolist() == [2.0, 5.0]
    assert sites.spins.weight.tolist() == [2.0, 1.0]
    assert sites.members.tolist() == [0, 0, 1]


def test_coils_are_linear():
    """Sensitivities of one and of a number give the plain signal and its multiple."""
    few = spins(position=np.array([[1e-3, 0, 0], [5e-3, 2e-3, 0]]), t1=1.0, t2=0.1)
    plain = simulate(train(), few, engine="epg", dtype="float64").signal
    coils = np.array([[1.0, 1.0], [0.5 - 2j, 0.5 - 2j]])
    both = simulate(train(), few, engine="epg", dtype="float64", coils=coils).signal
    assert both == pytest.approx(np.concatenate([plain, (0.5 - 2j) * plain]), rel=1e-12)


def test_ideal_spoiling_and_initial_magnetisation():
    few = spins(position=np.array([[1e-3, 0, 0], [5e-3, 2e-3, 0]]), t1=[1.0, 0.3], t2=0.1)
    options = {"spoiling": "ideal", "initial": (0.3, -0.2, 0.5), "dtype": "float64"}
    graph, vectors = (simulate(train(), few, engine=e, **options).signal for e in ("epg", "bloch"))
    assert graph == pytest.approx(vectors, rel=1e-10)


def test_what_is_refused():
    with pytest.raises(ConsistencyError) as refused:
        simulate(train(), spins(2), engine="epg", checkpoint="here")
    assert str(refused.value) == (
        "checkpoint: must not be given with engine='epg', which keeps no part of its sum. "
        "Leave it out, or use engine='bloch'."
    )


def test_every_spin_may_start_from_its_own_magnetisation():
    start = np.array([[0.2, -0.3, 0.5], [0.0, 0.4, -1.0], [0.0, 0.0, 1.0]])
    some = spins(position=np.arange(9.0).reshape(3, 3) * 1e-3, t1=1.0, t2=[0.1, 0.1, 0.05])
    a, b = (
        simulate(train(), some, engine=e, pulses="ideal", initial=start, dtype="float64", tolerance=1e-10).signal
        for e in ("bloch", "epg")
    )
    assert np.linalg.norm(a - b) < 1e-12 * np.linalg.norm(a)  # rounding
    with pytest.raises(ResourceError, match="memory: must hold 9 observed states, "):
        simulate(train(), spins(2), engine="epg", memory=100)
