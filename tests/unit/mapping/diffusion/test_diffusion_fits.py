from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mrisim.errors import ConsistencyError
from mrisim.mapping import diffusion
from mrisim.mapping.diffusion.adc import fit_adc
from mrisim.mapping.diffusion.tensor import errors_of_invariants
from mrisim.mapping.diffusion.weights import powder, shells
from mrisim.physics.tensors import eigensystem

EPS = np.finfo(float).eps
UM = 1e-9  # µm²/ms [m²/s]
MS = 1e9  # ms/µm², 1000 s/mm² [s/m²]
FITTED = 1e-9  # relative; far below what the search for a least sum of squares settles to
GENERATOR = np.random.default_rng(5)


def sphere(n: int) -> np.ndarray:
    """n directions that lie evenly over half a sphere."""
    z = (np.arange(n) + 0.5) / n
    angle = np.pi * (1 + 5**0.5) * np.arange(n)
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)


def scheme(*shells: tuple[float, int]) -> tuple[np.ndarray, np.ndarray]:
    """b values and directions: b = 0, then each shell."""
    b = np.concatenate([[0.0], *[np.full(n, value * MS) for value, n in shells]])
    return b, np.vstack([np.zeros(3), *[sphere(n) for _, n in shells]])


def attenuation(b: np.ndarray, u: np.ndarray, tensor: np.ndarray) -> np.ndarray:
    return np.exp(-b * np.einsum("ni,ij,nj->n", u, tensor, u))


def turned(values: tuple[float, float, float], seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Tensor with eigenvalues [µm²/ms] and the direction of the first one."""
    axes = Rotation.random(random_state=seed).as_matrix()
    return axes @ np.diag(values) @ axes.T * UM, axes[:, 0]


class TestAdc:
    @pytest.mark.parametrize("method", ["nonlinear", "weighted"])
    def test_finds_the_coefficient_without_noise(self, method: str) -> None:
        b = np.array([0.0, 0.5, 1.0]) * MS
        adc, s0 = np.array([[0.128, 0.7], [2.023, 3.2]]) * UM, np.array([[1.0, 0.3], [7.0, 2.0]])
        found = diffusion.fit_adc(s0[..., None] * np.exp(-b * adc[..., None] - 1j), b, method=method)
        np.testing.assert_allclose(found["adc"], adc, rtol=FITTED)
        np.testing.assert_allclose(found["s0"], s0, rtol=FITTED)
        assert found.converged.all()
        assert found.counts == {"fitted": 4, "empty": 0, "failed": 0}

    def test_b_matrices_count_imaging_gradients(self) -> None:
        along = np.outer([0.6, 0.0, 0.8], [0.6, 0.0, 0.8])
        imaging = np.diag([0.03, 0.01, 0.0]) * MS  # 40 s/mm² that the nominal b leaves out
        matrices = (
            np.array([0.0, 0.5, 1.0])[:, None, None] * along * MS + np.array([0, 1, 1.5])[:, None, None] * imaging
        )
        signal = np.exp(-np.trace(matrices, axis1=1, axis2=2) * 1.1 * UM)
        exact = float(diffusion.fit_adc(signal, matrices)["adc"])
        nominal = float(diffusion.fit_adc(signal, np.array([0.0, 0.5, 1.0]) * MS)["adc"])
        assert exact == pytest.approx(1.1 * UM, rel=FITTED)  # asked: 0.1 %
        assert nominal > 1.05 * 1.1 * UM

    @pytest.mark.parametrize("method", ["nonlinear", "weighted"])
    def test_standard_error_is_the_spread(self, method: str) -> None:
        b, noise, n = np.array([0.0, 0.25, 0.5, 0.75, 1.0]) * MS, 0.005, 2000
        signal = np.exp(-b * 0.8 * UM) + GENERATOR.normal(0.0, noise, (n, len(b)))
        found = diffusion.fit_adc(signal, b, method=method, noise=noise)
        spread = found["adc"].std()
        assert found.standard_error["adc"].mean() == pytest.approx(
            spread, rel=4 / np.sqrt(2 * n)
        )  # 4 of its own errors
        assert abs(found["adc"].mean() / UM - 0.8) < 4 * spread / UM / np.sqrt(n) + 1e-4  # and a bias of σ²

    def test_voxels_without_signal_are_left_out(self) -> None:
        b = np.array([0.0, 0.5, 1.0]) * MS
        signal = np.array([[0.0, 0.0, 0.0], [1.0, np.nan, 0.3], [1.0, 0.6, 0.4]])
        for method in ("nonlinear", "weighted"):
            found = diffusion.fit_adc(signal, b, method=method)
            assert found.converged.tolist() == [False, False, True]
            assert np.isnan(found["adc"][:2]).all()
            assert found.counts == {"fitted": 1, "empty": 1, "failed": 1}

    @pytest.mark.parametrize(
        ("b", "message"),
        [
            (
                [0.0, 1e9],
                r"b: must have one value \(or one 3 x 3 matrix\) for each of the 3 images, but has shape \(2,\)",
            ),
            ([1e9, 1e9, 1e9], r"b: must hold at least 2 different values, but holds 1 \(up to 1000 s/mm\^2\)"),
            (
                [0.0, 500.0, 1000.0],
                r"b: must reach at least 1 s/mm\^2, but reaches .* b is in s/m\^2: 1000 s/mm\^2 is 1e9",
            ),
            ([0.0, np.nan, 1e9], "b: must be finite, but holds nan or infinity"),
            ([-1e8, 0.0, 1e9], r"b: must be nowhere negative, but is -100 s/mm\^2"),
        ],
    )
    def test_wrong_weightings_are_refused(self, b, message: str) -> None:
        with pytest.raises(ConsistencyError, match=message):
            diffusion.fit_adc(np.ones(3), b)

    def test_an_unknown_method_is_refused(self) -> None:
        with pytest.raises(ConsistencyError, match="method: must be nonlinear or weighted, but is 'linear'"):
            diffusion.fit_adc(np.ones(2), [0.0, 1e9], method="linear")


class TestTensor:
    def test_finds_invariants_and_direction(self) -> None:
        b, u = scheme((1.0, 30))
        for values in ((1.7, 0.3, 0.3), (1.4, 0.6, 0.2)):
            tensor, v1 = turned(values)
            found = diffusion.fit_tensor(0.7 * attenuation(b, u, tensor), b, u)
            mean = sum(values) / 3
            fa = np.sqrt(1.5 * sum((v - mean) ** 2 for v in values) / sum(v**2 for v in values))
            expected = {"fa": fa, "md": mean * UM, "ad": values[0] * UM, "rd": (values[1] + values[2]) / 2 * UM}
            for name, value in {**expected, "trace": 3 * mean * UM, "s0": 0.7}.items():
                assert float(found[name]) == pytest.approx(value, rel=FITTED), name
            assert abs(found["v1"] @ v1) == pytest.approx(1.0, abs=FITTED)
            assert found["v1"][2] >= 0

    def test_golden_anisotropy(self) -> None:
        b, u = scheme((1.0, 12))
        found = diffusion.fit_tensor(attenuation(b, u, np.diag([1.7, 0.3, 0.3]) * UM), b, u)
        assert float(found["fa"]) == pytest.approx(0.799022, abs=5e-7)  # six decimals; asked: 0.002
        assert float(found["md"]) / UM == pytest.approx(0.766667, abs=5e-7)

    def test_rotation_changes_nothing(self) -> None:
        b, u = scheme((1.0, 20))
        tensor = np.diag([1.7, 0.5, 0.2]) * UM
        turns = Rotation.random(20, random_state=2).as_matrix()
        signal = np.stack([attenuation(b, u, turn @ tensor @ turn.T) for turn in turns])
        found = diffusion.fit_tensor(signal, b, u)
        for name in ("fa", "md", "ad", "rd"):
            assert np.ptp(found[name]) / found[name].mean() <= 1e-10, name  # asked
        along = np.einsum("ni,ni->n", found["v1"], turns[:, :, 0])
        np.testing.assert_allclose(np.abs(along), 1.0, atol=1e-10)

    def test_cross_terms_of_the_b_matrix_are_accounted_for(self) -> None:
        b, u = scheme((1.0, 12))
        k = np.sqrt(b)[:, None] * u + np.array([0.1, -0.05, 0.2]) * np.sqrt(MS)  # imaging gradients add to each
        matrices = k[:, :, None] * k[:, None, :]
        tensor, _ = turned((1.7, 0.3, 0.3))
        signal = np.exp(-np.einsum("nij,ij->n", matrices, tensor))
        full = diffusion.fit_tensor(signal, matrices)
        nominal = diffusion.fit_tensor(signal, b, u)
        assert float(full["fa"]) == pytest.approx(0.799022, abs=5e-7)
        assert abs(float(nominal["fa"]) - 0.799022) > 0.002

    def test_standard_errors_are_the_spreads(self) -> None:
        b, u = scheme((1.0, 30))
        tensor, _ = turned((1.5, 0.5, 0.3))
        noise, n = 0.004, 2000
        signal = attenuation(b, u, tensor) + GENERATOR.normal(0.0, noise, (n, len(b)))
        found = diffusion.fit_tensor(30.0 * signal, b, u)  # whatever the scale
        for name in ("fa", "md", "ad", "rd"):
            spread = found[name].std()
            assert found.standard_error[name].mean() == pytest.approx(spread, rel=0.08), name  # 4 / sqrt(2 n), slopes
        assert abs(found["fa"].mean() - float(diffusion.fit_tensor(attenuation(b, u, tensor), b, u)["fa"])) < 0.002

    def test_off_diagonal_elements_count_twice_in_the_errors(self) -> None:
        """Of a fibre along x = y, D_xy alone moves the largest eigenvalue by 2 v_x v_y = 1 and the next by -1."""
        values, vectors = eigensystem(np.array([[1.0, 1.0, 0.3, 0.7, 0.0, 0.0]]))
        covariance = np.zeros((1, 6, 6))
        covariance[0, 3, 3] = 0.04
        found = errors_of_invariants(values, vectors, covariance)
        assert found["ad"].item() == pytest.approx(0.2)
        assert found["md"].item() == pytest.approx(0.0, abs=1e-8)  # a square root of rounding

    @pytest.mark.parametrize(
        ("count", "message"),
        [
            (5, "b: must determine 7 unknowns, but 6 weightings determine 6"),
            (0, r"b: must reach at least 1 s/mm\^2, but reaches 0 s/mm\^2"),
        ],
    )
    def test_too_few_directions_are_refused(self, count: int, message: str) -> None:
        b, u = scheme((1.0, count))
        with pytest.raises(ConsistencyError, match=message):
            diffusion.fit_tensor(np.ones(len(b)), b, u)

    def test_directions_on_a_cone_are_refused(self) -> None:
        angle = np.arange(12) * np.pi / 6
        u = np.stack([0.6 * np.cos(angle), 0.6 * np.sin(angle), np.full(12, 0.8)], axis=1)
        with pytest.raises(
            ConsistencyError, match=r"13 weightings determine 6\. A tensor needs b = 0 and six directions"
        ):
            diffusion.fit_tensor(np.ones(13), np.array([0.0, *[MS] * 12]), np.vstack([np.zeros(3), u]))

    def test_wrong_directions_are_refused(self) -> None:
        b, u = scheme((1.0, 8))
        u[3] *= 1.2
        with pytest.raises(ConsistencyError, match=r"unit length where b is above zero, but number 3 has length 1\.2"):
            diffusion.fit_tensor(np.ones(9), b, u)
        with pytest.raises(ConsistencyError, match="directions: must be given where b holds b values, but is missing"):
            diffusion.fit_tensor(np.ones(9), b)
        with pytest.raises(ConsistencyError, match="directions: must be left out beside b-matrices, but is given"):
            diffusion.fit_tensor(np.ones(9), np.ones((9, 3, 3)) * MS, u)


class TestKurtosis:
    def test_apparent_kurtosis_of_two_compartments(self) -> None:
        """K = 3 Var(D) / mean(D)², the limit of b towards zero: from two ranges of b, the first order taken out."""
        f, d = np.array([0.7, 0.3]), np.array([1.2, 0.3])
        variance = (f * d**2).sum() - (f * d).sum() ** 2
        exact = 3 * variance / (f * d).sum() ** 2
        found = []
        for reach in (0.01, 0.02):
            b = np.linspace(0.0, reach, 6)
            signal = (f * np.exp(-b[:, None] * d)).sum(axis=1)
            found.append(float(diffusion.fit_kurtosis(signal, b * MS)["mk"]))
        assert 2 * found[0] - found[1] == pytest.approx(exact, rel=1e-4)  # the second order: (b D)² of 0.02²
        assert exact == pytest.approx(0.590010, abs=5e-7)

    def test_kurtosis_tensor_of_an_isotropic_mixture_is_the_apparent_one(self) -> None:
        b, u = scheme((1.0, 20), (2.0, 30))
        signal = np.exp(-b * UM + (b * UM) ** 2 * 0.9 / 6)
        found = diffusion.fit_kurtosis(signal, b, u)
        assert float(found["mk"]) == pytest.approx(0.9, rel=1e-8)  # condition of a design with 22 columns
        assert float(found["md"]) == pytest.approx(UM, rel=1e-8)
        assert float(found["fa"]) < 1e-6

    def test_mean_kurtosis_does_not_change_with_rotation(self) -> None:
        b, u = scheme((1.0, 20), (2.0, 30))
        axial, f = np.diag([1.6, 0.4, 0.4]) * UM, 0.6
        found = []
        for turn in Rotation.random(4, random_state=3).as_matrix():
            tensor = turn @ axial @ turn.T
            d = np.einsum("ni,ij,nj->n", u, tensor, u)
            w = 3 * f * (1 - f) * np.einsum("ni,ij,nj->n", u, tensor, u) ** 2  # W MD² of a form that rotates with it
            found.append(float(diffusion.fit_kurtosis(np.exp(-b * d + b**2 * w / 6), b, u)["mk"]))
        np.testing.assert_allclose(found, 3 * f * (1 - f), rtol=1e-8)  # K is the same in all directions here

    def test_quadrature_over_directions_is_exact_enough(self) -> None:
        """W along z only: mean of cos⁴ / D(u)², against a fine sum."""
        b, u = scheme((1.0, 20), (2.0, 30))
        tensor = np.diag([0.4, 0.4, 1.6]) * UM
        d = np.einsum("ni,ij,nj->n", u, tensor, u)
        signal = np.exp(-b * d + b**2 * (u[:, 2] ** 4 * UM**2) / 6)
        z = (np.arange(100_000) + 0.5) / 100_000
        exact = (z**4 / (0.4 + 1.2 * z**2) ** 2).mean()
        assert float(diffusion.fit_kurtosis(signal, b, u)["mk"]) == pytest.approx(exact, rel=1e-7)

    def test_too_few_weightings_are_refused(self) -> None:
        b, u = scheme((1.0, 30))
        with pytest.raises(ConsistencyError, match="b: must determine 22 unknowns, but 31 weightings determine 16"):
            diffusion.fit_kurtosis(np.ones(31), b, u)
        with pytest.raises(ConsistencyError, match="b: must hold at least 3 different values, but holds 2"):
            diffusion.fit_kurtosis(np.ones(2), [0.0, MS])


class TestIvim:
    B = np.array([0, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 600, 800, 1000]) / 1000 * MS

    def signal(self, d: float, f: float, d_star: float) -> np.ndarray:
        return (1 - f) * np.exp(-self.B * d * UM) + f * np.exp(-self.B * d_star * UM)

    @pytest.mark.parametrize(("d", "f", "d_star"), [(0.83, 0.0764, 10.88), (1.09, 0.2305, 70.02), (1.89, 0.19, 40.5)])
    def test_full_fit_finds_both_pools(self, d: float, f: float, d_star: float) -> None:
        found = diffusion.fit_ivim(3.0 * self.signal(d, f, d_star), self.B)
        for name, value in (("d", d * UM), ("f", f), ("d_star", d_star * UM), ("s0", 3.0)):
            assert float(found[name]) == pytest.approx(value, rel=1e-6), name  # asked: 0.1 %, 0.001, 1 %

    def test_segmented_fit_is_exact_where_the_fast_pool_has_decayed(self) -> None:
        found = diffusion.fit_ivim(self.signal(1.09, 0.23, 150.0), self.B, method="segmented")
        left = np.exp(-0.2 * 150)  # of the fast pool at 200 s/mm²
        assert float(found["d"]) == pytest.approx(1.09 * UM, rel=10 * left)
        assert float(found["f"]) == pytest.approx(0.23, rel=1e-6)
        assert float(found["d_star"]) == pytest.approx(150 * UM, rel=1e-6)

    def test_tissue_without_a_fast_pool_keeps_its_coefficient(self) -> None:
        for method in ("full", "segmented"):
            found = diffusion.fit_ivim(np.exp(-self.B * 1.2 * UM), self.B, method=method)
            assert found.converged.all()
            assert float(found["d"]) == pytest.approx(1.2 * UM, rel=1e-6)
            assert float(found["f"]) == pytest.approx(0.0, abs=1e-4)
            assert np.isnan(found["d_star"])

    def test_standard_errors_are_the_spreads(self) -> None:
        noise, n = 0.002, 1000
        signal = self.signal(1.09, 0.23, 50.0) + GENERATOR.normal(0.0, noise, (n, len(self.B)))
        found = diffusion.fit_ivim(signal, self.B)
        assert found.counts["failed"] == 0
        for name in ("d", "f", "d_star"):
            assert found.standard_error[name].mean() == pytest.approx(found[name].std(), rel=0.15), name  # 4/sqrt(2n)

    def test_wrong_input_is_refused(self) -> None:
        with pytest.raises(ConsistencyError, match="method: must be full or segmented, but is 'slow'"):
            diffusion.fit_ivim(np.ones(16), self.B, method="slow")
        with pytest.raises(ConsistencyError, match="b: must hold at least 4 different values, but holds 3"):
            diffusion.fit_ivim(np.ones(3), np.array([0.0, 0.1, 0.5]) * MS)
        with pytest.raises(ConsistencyError, match=r"at least 2 different values from 2000 s/mm\^2, but holds 0"):
            diffusion.fit_ivim(np.ones(16), self.B, method="segmented", split=2 * MS)


class TestPowder:
    def test_mean_over_orthogonal_directions_decays_with_the_trace(self) -> None:
        tensor, _ = turned((1.7, 0.4, 0.2))
        u = np.vstack([np.zeros(3), np.eye(3), np.eye(3)])
        b = np.array([0.0, *[0.5] * 3, *[1.0] * 3]) * MS
        mean = diffusion.powder(attenuation(b, u, tensor)[None], b[:, None, None] * u[:, :, None] * u[:, None, :])
        assert mean.isotropic
        np.testing.assert_allclose(mean.b, np.array([0.0, 0.5, 1.0]) * MS, rtol=8 * EPS, atol=0)
        np.testing.assert_allclose(mean.signal[0], np.exp(-mean.b * 2.3 / 3 * UM), rtol=1e-12)
        one = diffusion.powder(np.ones((1, 2)), np.array([np.zeros((3, 3)), np.diag([1.0, 0.0, 0.0]) * MS]))
        assert not one.isotropic

    def test_shells_are_neighbours_within_a_twentieth(self) -> None:
        assert shells(np.array([1.02, 0.0, 1.0, 0.5, 0.51, 1.04]) * MS).tolist() == [2, 0, 2, 1, 1, 2]


def test_directions_of_unlike_b_are_one_shell():
    """Gradients of slices make b larger along the slice; the mean is a third of the trace all the same."""
    along = np.diag([500.0, 500.0, 590.0]) * 1e6
    matrices = np.stack(
        [np.zeros((3, 3)), *(scale * along[i][:, None] * np.eye(3)[i] for scale in (1, 2) for i in range(3))]
    )
    tensor = np.diag([1.5e-9, 0.3e-9, 0.4e-9])
    mean = powder(np.exp(-np.tensordot(matrices, tensor, axes=2))[None], matrices)
    assert mean.isotropic
    assert len(mean.b) == 3
    assert fit_adc(mean.signal, mean.b)["adc"].item() == pytest.approx(np.trace(tensor) / 3, rel=1e-6)
