"""Pictures of diffusion: colours of directions, angles, units, and curves in the right place."""

from __future__ import annotations

import numpy as np
import pytest

from mrisim import plot
from mrisim.data import Grid, Image, ParameterMap
from mrisim.errors import ConsistencyError
from mrisim.plot.diffusion import between

GRID = Grid.of((4, 3, 1), (2e-3, 2e-3, 5e-3))
SHAPE = (1, 3, 4)
MASK = np.ones(SHAPE, dtype=bool)
MASK[0, 0, 0] = False


def vectors(direction: tuple[float, float, float]) -> ParameterMap:
    return ParameterMap(name="V1", unit="1", data=np.tile(direction, (*SHAPE, 1)), grid=GRID, mask=MASK)


def numbers(name: str, value: float, unit: str = "1") -> ParameterMap:
    return ParameterMap(name=name, unit=unit, data=np.full(SHAPE, value), grid=GRID, mask=MASK)


def picture(axes) -> np.ndarray:
    return np.asarray(axes.get_images()[0].get_array())


def test_colour_anisotropy_is_red_along_x_green_along_y_blue_along_z() -> None:
    coloured = plot.weighted_directions(vectors((0.0, -0.6, 0.8)), numbers("FA", 0.5))
    figure = plot.parameter_map(coloured)
    shown = picture(figure.axes[0])
    np.testing.assert_allclose(shown[1, 1], [0.0, 0.3, 0.4])
    np.testing.assert_allclose(shown[0, 0], 0.0)  # not fitted
    assert figure.axes[0].get_title(loc="left") == "colour FA map"


def test_tissue_without_a_direction_is_black() -> None:
    coloured = plot.weighted_directions(vectors((np.nan, np.nan, np.nan)), numbers("FA", 0.0))
    np.testing.assert_array_equal(coloured.data[0, 1, 1], 0.0)


def test_comparison_of_directions_shows_the_angle_whatever_their_sign() -> None:
    figure = plot.map_comparison(vectors((1.0, 0.0, 0.0)), vectors((-np.cos(0.1), np.sin(0.1), 0.0)))
    np.testing.assert_allclose(picture(figure.axes[2])[1, 1], np.degrees(0.1), rtol=1e-12)
    assert np.ma.is_masked(picture(figure.axes[2])[0, 0]) or np.isnan(picture(figure.axes[2])[0, 0])
    assert "angle / deg" in [axes.get_xlabel() for axes in figure.axes]
    assert float(between(np.array([2.0, 0, 0]), np.array([0, 0, -3.0]))) == pytest.approx(90.0)


def test_coefficients_are_shown_in_square_micrometers_per_millisecond() -> None:
    figure = plot.map_comparison(numbers("ADC", 1e-9, "m^2/s"), numbers("ADC", 1.02e-9, "m^2/s"))
    np.testing.assert_allclose(picture(figure.axes[1])[1, 1], 1.02)
    np.testing.assert_allclose(picture(figure.axes[2])[1, 1], 2.0)  # per cent
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert "ADC / µm²/ms" in labels
    assert "difference / %" in labels
    assert "D* / µm²/ms" in [axes.get_ylabel() for axes in plot.parameter_map(numbers("Dstar", 5e-8, "m^2/s")).axes]


def test_difference_of_anisotropy_is_no_per_cent() -> None:
    figure = plot.map_comparison(numbers("FA", 0.0), numbers("FA", 0.02))
    np.testing.assert_allclose(picture(figure.axes[2])[1, 1], 0.02)
    assert "difference of FA" in [axes.get_xlabel() for axes in figure.axes]


def test_overview_takes_directions_beside_numbers() -> None:
    figure = plot.overview({}, {"ADC": numbers("ADC", 1e-9, "m^2/s"), "colour": vectors((1.0, 0.0, 0.0))})
    np.testing.assert_allclose(picture(figure.axes[1])[1, 1], [1.0, 0.0, 0.0])


def test_weighted_images_are_captioned_with_their_b_value() -> None:
    b = np.array([0.0, 1e9])[:, None, None] * np.diag([1.0, 0.0, 0.0])
    weak = 1e-3 * b
    for given, captions in ((b, ["b 0 s/mm² · TE 60 ms", "b 1000 s/mm² · TE 60 ms"]), (weak, ["TE 60 ms"] * 2)):
        image = Image(data=np.ones((2, *SHAPE)), grid=GRID, coordinates={"te": np.full(2, 0.06), "b_matrix": given})
        assert [axes.get_title() for axes in plot.image(image).axes[:2]] == captions


def test_images_without_times_have_captions_all_the_same() -> None:
    """Coefficients of a train of images have the time of none of them."""
    times = {"te": np.full(3, 0.0025), "time": np.full(3, np.nan)}
    for method, captions in (("lowrank", [f"coefficient {n}" for n in (1, 2, 3)]), ("gridding", [""] * 3)):
        image = Image(data=np.ones((3, *SHAPE)), grid=GRID, coordinates=times, provenance={"recon": {"method": method}})
        assert [axes.get_title() for axes in plot.image(image).axes[:3]] == captions


def test_decay_has_points_over_curves_and_a_close_view() -> None:
    b = np.array([0.0, 100e6, 1000e6])
    signal = np.exp(-b * 1e-9)
    figure = plot.decay(b, {"liver": signal}, {"liver": (b, signal)})
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[1].get_xdata(), [0.0, 100.0, 1000.0])
    np.testing.assert_allclose(lines[1].get_ydata(), signal)
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[1].get_xlim()[1] < 300


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConsistencyError, match="Take V1 and FA of one fit"):
        plot.weighted_directions(numbers("V1", 1.0), numbers("FA", 1.0))
    with pytest.raises(ConsistencyError, match="must hold three components for each voxel"):
        plot.directions(numbers("FA", 1.0))


def tensors(shape=(1, 4, 4)):
    grid = Grid.of(shape[::-1], (2e-3, 2e-3, 5e-3))
    direction = np.zeros((*shape, 3))
    direction[..., 1] = 1.0
    values = {"V1": direction, "FA": np.full(shape, 0.8), "AD": np.full(shape, 1.6e-9), "RD": np.full(shape, 0.4e-9)}
    return [ParameterMap(name=name, unit="1", data=data, grid=grid) for name, data in values.items()]


def test_glyphs_are_as_long_as_water_goes_far():
    figure = plot.glyphs(*tensors())
    outlines = [path.vertices for path in figure.axes[0].collections[0].get_paths()]
    assert len(outlines) == 16
    wide, tall = np.ptp(outlines[0], axis=0)
    assert tall / wide == pytest.approx(4.0, rel=0.02)  # AD over RD; 36 corners
    assert tall < 2.0  # mm, of a voxel
    assert outlines[0].mean(axis=0) == pytest.approx([1.0, 1.0], abs=0.05)


def test_glyphs_of_a_region_and_of_what_is_no_region():
    assert len(plot.glyphs(*tensors(), region=(1, 3, 0, 2)).axes[0].collections[0].get_paths()) == 4
    with pytest.raises(ConsistencyError, match="region: must lie within 0, 4, 0, 4"):
        plot.glyphs(*tensors(), region=(1, 5, 0, 2))
    v1, fa, ad, _ = tensors()
    with pytest.raises(ConsistencyError, match=r"RD: must have the shape \(1, 4, 4\), but has \(1, 2, 2\)"):
        plot.glyphs(v1, fa, ad, tensors((1, 2, 2))[3])
