"""What a simulation needs is known before it begins."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import spins

from mrisim.errors import ResourceError
from mrisim.sequence import load_sequence
from mrisim.simulate import simulate
from mrisim.simulate.need import memory_need, memory_text

SEQ = load_sequence("spin_echo", matrix="[8, 8]", TR="1 s")
SOURCE = spins(3000, t1=1.0, t2=0.1, df=np.linspace(-50, 50, 3000))


@pytest.mark.parametrize("options", [{}, {"coils": 4}, {"dtype": "float64"}, {"pulses": "ideal"}, {"memory": "8 MiB"}])
def test_the_need_is_what_the_run_then_states(options):
    need, budget = memory_need(SEQ, SOURCE, **options)
    assert simulate(SEQ, SOURCE, **options).provenance["memory"] == need
    assert need < budget


def test_the_budget_is_what_is_asked():
    assert memory_need(SEQ, SOURCE, memory=10**8)[1] == 10**8
    with pytest.raises(ResourceError, match="must leave"):
        memory_need(SEQ, SOURCE, memory="100 kB")


def test_amounts_are_read_in_their_unit():
    assert [memory_text(size) for size in (2**19, 10 * 2**20, 3 * 2**30)] == ["0.5 MiB", "10 MiB", "3 GiB"]
