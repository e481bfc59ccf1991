"""What each readout is: times between pulses and samples, found in the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from physics.build import ADC, MS, RF, Block, build

from mrisim.events.blocks import Use
from mrisim.events.readouts import readout_table
from mrisim.sequence import load_sequence

AT = 1e-6
READ = ADC(at=3 * MS, samples=5, dwell=0.1 * MS)


def block(duration: float, use: Use | None = None, adc: ADC | None = None, flip: float = 0.5, **labels):
    return Block(duration=duration, rf=None if use is None else RF(flip=flip, use=use), adc=adc, labels=labels)


def test_echo_time_is_to_sample_n_over_two_from_the_last_excitation():
    table = readout_table(build([block(10 * MS, Use.EXCITATION), block(8 * MS, None, READ), block(8 * MS, None, READ)]))
    assert table.te == pytest.approx(np.array([13.2, 21.2]) * MS - AT)
    assert table.start.tolist() == [0, 5]
    assert table.count.tolist() == [5, 5]
    assert table.dwell == pytest.approx(0.1 * MS)


def test_repetition_time_is_between_excitations_of_one_slice():
    parts = [
        Block(duration=6 * MS, rf=RF(flip=1.0, axis=2, thickness=5e-3, position=p), adc=READ)
        for p in (0.0, 1e-2, 0.0, 1e-2)
    ]
    assert readout_table(build(parts)).tr == pytest.approx([np.nan, np.nan, 12 * MS, 12 * MS], nan_ok=True)


def test_inversion_time_is_to_the_excitation():
    table = readout_table(build([block(50 * MS, Use.INVERSION), block(10 * MS, Use.EXCITATION, READ)]))
    assert table.ti == pytest.approx([50 * MS])
    assert np.isnan(readout_table(build([block(10 * MS, Use.EXCITATION, READ)])).ti).all()


def test_saturation_time_is_to_the_excitation():
    parts = [block(30 * MS, Use.SATURATION), block(20 * MS, Use.EXCITATION, READ), block(9 * MS, Use.EXCITATION, READ)]
    assert readout_table(build(parts)).ts == pytest.approx([30 * MS, 50 * MS])
    assert np.isnan(readout_table(build(parts[1:])).ts).all()


def test_a_saturation_counts_for_water_in_its_slice_only():
    excite = Block(duration=10 * MS, rf=RF(flip=1.0, axis=2, thickness=5e-3, position=1e-2), adc=READ)
    beside = Block(duration=7 * MS, rf=RF(flip=1.5, use=Use.SATURATION, axis=2, thickness=5e-2, position=-3e-2))
    fat = Block(duration=8 * MS, rf=RF(flip=1.5, use=Use.SATURATION, frequency=-440.0))
    here = Block(duration=40 * MS, rf=RF(flip=1.5, use=Use.SATURATION, axis=2, thickness=1e-2, position=1e-2))
    assert np.isnan(readout_table(build([beside, fat, excite])).ts).all()
    assert readout_table(build([here, beside, fat, excite])).ts == pytest.approx([55 * MS])


def test_flip_is_that_of_the_last_excitation():
    parts = [block(8 * MS, Use.EXCITATION, READ, flip=0.3), block(8 * MS, Use.REFOCUSING, READ, flip=3.0)]
    assert readout_table(build(parts)).flip == pytest.approx([0.3, 0.3])


def test_readout_before_any_excitation_has_no_times():
    table = readout_table(build([block(8 * MS, None, READ), block(8 * MS, Use.EXCITATION, READ)]))
    assert np.isnan([table.te[0], table.ti[0], table.tr[0], table.flip[0]]).all()
    assert table.te[1] == pytest.approx(3.2 * MS - AT)


def test_labels_follow_the_blocks():
    parts = [block(8 * MS, Use.EXCITATION, READ, LIN=7), block(8 * MS, None, LIN=8), block(8 * MS, None, READ, LIN=9)]
    table = readout_table(build(parts))
    assert table.label("LIN").tolist() == [7, 9]
    assert table.label("SLC").tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "options", "te", "tr", "ti"),
    [
        ("spin_echo", {"TE": "20 ms", "TR": "300 ms"}, [20 * MS], 0.3, np.nan),
        ("saturation_recovery", {"TS": "150 ms", "TR": "2 s"}, [12 * MS], 2.0, np.nan),
        ("inversion_recovery_se", {"TI": "150 ms", "TR": "2 s"}, [12 * MS], 2.0, 0.15),
        ("multi_echo_se", {"echoes": 3, "spacing": "11 ms", "TR": "1 s"}, np.array([11, 22, 33]) * MS, 1.0, np.nan),
        ("flash_2d", {"TE": "6 ms", "TR": "14 ms"}, [6 * MS], 14 * MS, np.nan),
    ],
)
def test_times_of_the_library_are_what_was_asked_for(name, options, te, tr, ti):
    table = readout_table(load_sequence(name, matrix="[16, 4]", **options))
    raster = 10e-6  # of blocks: a delay that is solved is rounded to it
    assert np.unique(table.te.round(7)) == pytest.approx(te, abs=raster)
    assert table.tr[-1] == pytest.approx(tr, abs=raster)
    assert table.ti[-1] == pytest.approx(ti, abs=raster, nan_ok=True)
