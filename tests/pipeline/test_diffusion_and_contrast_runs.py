"""From a sequence to maps of diffusion and of a contrast agent's exchange, against the phantom's truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

import mrisim as mr

WATER = """\
mrisim: 1
phantom: two liquids
size: [200 mm, 200 mm, 20 mm]
voxel: 4 mm
isochromats: 1
shapes:
  - {rectangle: {size: [88 mm, 180 mm], center: [-46 mm, 0 mm]}, tissue: {T1: 1 s, T2: 90 ms, ADC: 2.0e-3 mm^2/s}}
  - {rectangle: {size: [88 mm, 180 mm], center: [46 mm, 0 mm]}, tissue: {T1: 1 s, T2: 90 ms, ADC: 0.8e-3 mm^2/s}}
"""


def inner(result, name, steps):
    """Voxels of one tissue away from its edges: estimate and truth."""
    estimate, true = result.maps[name], result.truth[name]
    return estimate, true, lambda value: binary_erosion(np.isclose(true.data[0], value, atol=0.0), iterations=steps)


def test_adc_of_two_liquids_from_a_diffusion_weighted_echo_planar_image(tmp_path):
    """Within 0.5 %: what is left are the edges, which ring into 22 voxels."""
    path = tmp_path / "liquids.yaml"
    path.write_text(WATER, encoding="utf-8")
    result = mr.run("dwi_se_epi", phantom=path, set={"matrix": 48, "b": ["800 s/mm^2"]}, isochromats=1)
    assert any(finding.topic == "diffusion" for finding in result.findings)
    estimate, _, of = inner(result, "ADC", 6)
    for adc in (2.0e-9, 0.8e-9):
        mask = of(adc)
        assert mask.sum() > 50
        assert estimate.data[0][mask].mean() == pytest.approx(adc, rel=5e-3)


@pytest.mark.slow
def test_exchange_of_the_qiba_object_from_a_dynamic_scan():
    """Ktrans and ve of the middle of each square within 1 %, noise-free, two seconds a volume, ideal spoiling."""
    result = mr.run(
        "dce_spgr_3d",
        phantom="qiba_tofts",
        set={
            "matrix": [30, 40, 4], "fov": [0.12, 0.16, 0.02], "interval": "2 s", "dynamics": 90, "TR": "5 ms",
            "flip": "30 deg", "bandwidth": "78.125 kHz", "dummies": 100,
        },
        isochromats=1, voxel="4 mm", spoiling="ideal", pulses="ideal", injection="0 s",
    )  # fmt: skip
    options = {
        "fit": "dce", "model": "tofts", "t10": "1 s", "relaxivity": 4.5, "aif": "parker", "arrival": "20 s",
        "hematocrit": 0.45,
    }  # fmt: skip
    maps = mr.fit_maps(result.image, {"Ktrans": options, "ve": options})
    grid = result.image.grid
    truth = mr.load_phantom("qiba_tofts", voxel="20 mm").model.truth(grid, 3)
    for name in ("Ktrans", "ve"):
        errors = []
        for label in np.unique(truth.label[2]):
            mask = binary_erosion((truth.label[2] == label) & (truth.purity[2] > 0.999))
            true = truth.maps[name][2][mask]
            if mask.any() and np.isfinite(true).all():
                errors.append(maps[name].data[2][mask].mean() / true.mean() - 1)
        assert len(errors) == 30
        assert np.median(np.abs(errors)) < 0.01
