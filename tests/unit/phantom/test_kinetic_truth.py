"""What maps of exchange and perfusion should show, from the kinetics of a phantom's tissues."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim.phantom.enhancement import Kinetics, kinetic_truth

MOST = np.array([[[0, 1, 2, 3, 4]]])
TISSUES = [
    None,
    Kinetics(model="2cxm", fp=0.01, ps=0.002, ve=0.2, vp=0.06),
    Kinetics(model="aath", fp=0.01, ps=0.002, ve=0.2, vp=0.03),
    Kinetics(model="extended_tofts", ktrans=0.003, ve=0.1, vp=0.015),
    Kinetics(model="blood"),
]


@pytest.fixture(scope="module")
def truth():
    empty = np.zeros(MOST.shape, dtype=bool)
    return {name: values[0, 0] for name, values in kinetic_truth(TISSUES, MOST, empty).items()}


def test_volume_flow_and_transit_time_are_those_of_whole_blood(truth):
    """Plasma volume and flow over the share of plasma in capillaries; of models without a flow the volume alone."""
    np.testing.assert_allclose(truth["CBV"], [np.nan, 0.08, 0.04, 0.02, np.nan])
    np.testing.assert_allclose(truth["CBF"], [np.nan, 0.01 / 0.75, 0.01 / 0.75, np.nan, np.nan])
    np.testing.assert_allclose(truth["MTT"], [np.nan, 6.0, 3.0, np.nan, np.nan])


def test_transfer_follows_from_flow_and_permeability(truth):
    expected = [np.nan, 0.01 * 0.002 / 0.012, 0.01 * (1 - np.exp(-0.2)), 0.003, np.nan]
    np.testing.assert_allclose(truth["Ktrans"], expected)


def test_what_no_tissue_has_is_no_map():
    found = kinetic_truth([None, Kinetics(model="tofts", ktrans=0.003, ve=0.1)], MOST % 2, np.zeros(MOST.shape, bool))
    assert sorted(found) == ["Ktrans", "ve"]
