"""Small phantoms and protocols, so that a whole run takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

PHANTOM = """\
mrisim: 1
phantom: two boxes
field: 3 T
size: [56 mm, 56 mm, 24 mm]
voxel: 2 mm
shapes:
  - {box: {size: [24 mm, 44 mm, 24 mm], center: [-13 mm, 3 mm, 0 mm]}, tissue: {T1: 500 ms, T2: 60 ms, PD: 0.8}}
  - {box: {size: [24 mm, 44 mm, 24 mm], center: [14 mm, -2 mm, 0 mm]}, tissue: {T1: 1200 ms, T2: 110 ms, PD: 1}}
"""

PROTOCOL = """\
mrisim: 1
protocol: Two tubes
phantom: tubes.yaml
scans:
  ir:
    sequence: inversion_recovery_se
    set: {TR: 6 s, matrix: 32, fov: 64 mm}
    each: {TI: [60 ms, 400 ms, 1.2 s, 3 s]}
  se:
    sequence: spin_echo
    set: {TR: 6 s, matrix: 32, fov: 64 mm}
    each: {TE: [12 ms, 50 ms, 120 ms]}
maps:
  T1: {fit: inversion_recovery, from: ir}
  T2: {fit: monoexponential, from: se, t1: T1}
simulation: {isochromats: 3}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder with tubes.yaml and exam.yaml."""
    (tmp_path / "tubes.yaml").write_text(PHANTOM)
    (tmp_path / "exam.yaml").write_text(PROTOCOL)
    return tmp_path


@pytest.fixture(scope="session")
def exam(tmp_path_factory: pytest.TempPathFactory):
    """Result of the protocol, with its folder."""
    from mrisim.pipeline import run

    home = tmp_path_factory.mktemp("exam")
    (home / "tubes.yaml").write_text(PHANTOM)
    (home / "exam.yaml").write_text(PROTOCOL)
    return run(home / "exam.yaml", out=home / "out")
