"""What a terminal shows of a sequence, phantom, raw data, image or map: sizes, no arrays."""

from __future__ import annotations

import dataclasses
import types

import jax
import numpy as np
import pytest

import mrisim as mr
from mrisim.data import Grid, Image, ParameterMap

GRID = Grid.of((8, 6, 1), (1e-3, 1.5e-3, 5e-3))


def phantom(n: int = 1200) -> mr.Phantom:
    return mr.Phantom.from_arrays(position=np.zeros((n, 3)), t1=1.0, t2=0.1, field=3.0)


def test_texts_are_one_line(spin_echo):
    raw = dataclasses.replace(mr.simulate(spin_echo, phantom(2)), sequence=spin_echo)
    image = Image(data=np.zeros((3, 1, 6, 8), complex), grid=GRID, name="t1w", unit="mM")
    maps = ParameterMap(name="T1", unit="s", data=np.zeros((1, 6, 8)), grid=GRID)
    directions = ParameterMap(name="colour", unit="1", data=np.zeros((1, 6, 8, 3)), grid=GRID)
    texts = {
        spin_echo: "<Sequence spin echo by hand: 112 blocks, 8 s>",
        raw: "<RawData spin echo by hand: 16 readouts, 512 samples, 1 coil>",
        image: "<Image t1w (contrast 3, z 1, y 6, x 8), voxel 1 x 1.5 x 5 mm, mM>",
        maps: "<ParameterMap T1 in s (z 1, y 6, x 8), voxel 1 x 1.5 x 5 mm>",
        directions: "<ParameterMap colour (z 1, y 6, x 8, components 3), voxel 1 x 1.5 x 5 mm>",
    }
    for thing, text in texts.items():
        assert repr(thing) == text
    assert repr(phantom()) == "<Phantom: 1,200 isochromats, 3 T>"


def test_a_phantom_has_the_name_of_its_model():
    named = dataclasses.replace(phantom(), model=types.SimpleNamespace(name="brain"))
    assert repr(named) == "<Phantom brain: 1,200 isochromats, 3 T>"


@pytest.mark.parametrize("trace", [jax.jit, jax.vmap])
def test_texts_ask_nothing_of_traced_arrays(trace):
    seen = []
    many = jax.tree.map(lambda values: np.stack([values, values]), phantom(5))
    trace(lambda one: (seen.append(repr(one)), one.t1.sum())[1])(many)
    assert seen == ["<Phantom: 5 isochromats>"]
    assert repr(jax.tree.map(lambda _: None, phantom(5))) == "<Phantom>"
