"""Runs of one sequence, and what may go wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mrisim.errors import ConsistencyError, MrisimError, ResourceError, SpecError
from mrisim.io import hdf5
from mrisim.pipeline import run

SMALL = {"matrix": 16, "fov": "64 mm", "TR": "200 ms"}


def quick(folder, **arguments):
    settings = {"phantom": folder / "tubes.yaml", "set": SMALL, "isochromats": 3, **arguments}
    return run("spin_echo", **settings)


def test_one_sequence_without_files(folder):
    result = quick(folder)
    assert result.image.data.shape == (1, 1, 16, 16)
    assert result.folder is None
    assert result.raw.signal.shape == (1, 16 * 16)
    assert sorted(os.listdir(folder)) == ["exam.yaml", "tubes.yaml"]


def test_python_values_are_si_and_text_has_units(folder):
    text = quick(folder)
    numbers = quick(folder, set={"matrix": 16, "fov": 0.064, "TR": 0.2})
    np.testing.assert_array_equal(text.raw.signal, numbers.raw.signal)


def test_the_seed_makes_the_noise(folder):
    first, again, other = (quick(folder, noise=1e-9, seed=seed).raw.signal for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-9


def test_coils_are_combined(folder):
    assert quick(folder, coils=4).raw.signal.shape[0] == 4


def test_progress_goes_from_zero_to_one(folder):
    seen = []
    quick(folder, progress=lambda what, share: seen.append((what, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == pytest.approx(1.0)
    assert "spin_echo: simulating" in [what for what, _ in seen]


def test_a_saved_phantom_is_taken_as_it_is(folder):
    result = quick(folder)
    phantom = result.scans["spin_echo"].phantom
    hdf5.save(folder / "tubes.h5", phantom)
    again = quick(folder, phantom=folder / "tubes.h5", isochromats=None)
    np.testing.assert_allclose(again.raw.signal, result.raw.signal, rtol=0, atol=1e-6 * np.abs(result.raw.signal).max())


def test_a_saved_phantom_cannot_be_sampled_again(folder):
    hdf5.save(folder / "tubes.h5", quick(folder).scans["spin_echo"].phantom)
    with pytest.raises(ConsistencyError) as caught:
        quick(folder, phantom=folder / "tubes.h5")
    assert str(caught.value) == (
        "phantom: must be left out for a phantom that has its isochromats, but isochromats is given. "
        "Set them where the phantom is made."
    )


def test_a_former_run_is_replaced(folder):
    for _ in range(2):
        quick(folder, out=folder / "out")
    assert (folder / "out" / "run.json").is_file()
    assert sorted(os.listdir(folder)) == ["exam.yaml", "out", "tubes.yaml"]


def test_other_peoples_files_stay(folder):
    (folder / "out" / "demo").mkdir(parents=True)
    (folder / "out" / "demo" / "run.json").write_text("another run's")
    for _ in range(2):
        quick(folder, out=folder / "out")
        (folder / "out" / "thesis.txt").write_text("mine")
    found = sorted(os.listdir(folder / "out"))
    assert found == ["bids", "demo", "figures", "images", "kspace", "report.html", "run.json", "thesis.txt"]
    assert (folder / "out" / "demo" / "run.json").read_text() == "another run's"
    assert sorted(os.listdir(folder)) == ["exam.yaml", "out", "tubes.yaml"]


@pytest.mark.parametrize("name", ["figures/mine.png", "run.json", "maps.h5"])
def test_other_peoples_files_of_the_same_names_are_not_replaced(folder, name):
    quick(folder, out=folder / "out")
    if name == "run.json":
        (folder / "out" / name).unlink()
    else:
        (folder / "out" / name).write_text("mine")
    shown = "kspace/spin_echo.h5" if name == "run.json" else name
    with pytest.raises(ResourceError) as caught:
        quick(folder, out=folder / "out")
    assert str(caught.value) == (
        f"{folder / 'out'}: out: must hold a former run or nothing of a run's names, but holds '{shown}'. "
        "Choose another place with --out."
    )
    assert name == "run.json" or (folder / "out" / name).read_text() == "mine"


def test_a_folder_that_cannot_be_filled_is_put_back(folder, monkeypatch):
    quick(folder, out=folder / "out")
    (folder / "out" / "thesis.txt").write_text("mine")
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    rename = Path.rename

    def fails_at_the_report(self, target):
        if self.name == "report.html" and "output." in str(self):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_at_the_report)
    with pytest.raises(ResourceError, match="No space left on device"):
        quick(folder, out=folder / "out")
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()} == before
    assert sorted(os.listdir(folder)) == [".out.unfinished", "exam.yaml", "out", "tubes.yaml"]  # its checkpoints


def test_a_link_to_a_folder_stays_a_link(folder):
    (folder / "disk").mkdir()
    (folder / "out").symlink_to("disk")
    quick(folder, out=folder / "out")
    assert (folder / "out").is_symlink()
    assert (folder / "disk" / "run.json").is_file()


def test_a_name_that_no_file_system_takes_is_refused(folder):
    with pytest.raises(ResourceError, match=r"must be writable, but is not \(File name too long\)"):
        quick(folder, out=folder / ("a" * 300))


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(folder):
    (folder / "file").write_text("")
    seen = []
    with pytest.raises(ResourceError, match="must be writable, but is not"):
        quick(folder, out=folder / "file" / "out", progress=lambda what, share: seen.append(what))
    assert seen == []


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"set": {"TE": "1 ms"}}, SpecError, "TE"),
        ({"set": {"TE": 1j}}, SpecError, "TE"),
        ({"set": {"echo": 3}}, SpecError, "echo"),
        ({"phantom": "brian"}, SpecError, "brain"),
        ({"field": "1.5 T"}, ConsistencyError, "must be made for the sequence's field of 3 T, but is made for 1.5 T"),
        ({"voxel": "3"}, SpecError, "must be a length with its unit"),
        ({"voxel": "-3 mm"}, ConsistencyError, "must be above 0 mm"),
        ({"memory": "1 kB"}, ResourceError, "memory"),
        ({"memory": "much"}, SpecError, "must be an amount of memory"),
        ({"noise": "loud"}, ConsistencyError, "noise"),
        ({"pulses": "square"}, ConsistencyError, "pulses"),
        ({"set": {**SMALL, "slices": "80 mm"}}, MrisimError, ""),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_nothing(folder, settings, error, message):
    with pytest.raises(error) as caught:
        quick(folder, out=folder / "out", **settings)
    assert message in str(caught.value)
    assert sorted(os.listdir(folder)) == ["exam.yaml", "tubes.yaml"]


def test_a_flat_phantom_names_the_remedy(folder):
    with pytest.raises(ConsistencyError, match=r"(?i)extrude"):
        quick(folder, phantom="ellipse_box")


def test_a_phantom_thinner_than_two_slices_names_the_remedy(folder):
    text = (folder / "tubes.yaml").read_text().replace("24 mm]", "6 mm]")
    (folder / "thin.yaml").write_text(text)
    with pytest.raises(ConsistencyError, match="must be at least two slices thick"):
        quick(folder, phantom=folder / "thin.yaml")
