"""The XML header: encoded and reconstructed space, limits, system, sequence parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mrisim._types import Float
from mrisim.data import RawData
from mrisim.io.mrd.terms import COUNTERS, LIMITS, MM, MS, USER_FLOATS, USER_INTS, VENDOR


@dataclass(frozen=True, kw_only=True, eq=False)
class Spaces:
    """What the header says of the encoding, SI."""

    encoded_matrix: tuple[int, int, int]  # read with oversampling
    encoded_fov: tuple[float, float, float]  # [m]
    matrix: tuple[int, int, int]
    fov: tuple[float, float, float]  # [m]
    cartesian: bool
    coordinates: dict[str, Float[np.ndarray, " contrasts"]]  # te, ti, tr, flip [s, rad]


def header_xml(raw: RawData, spaces: Spaces, b0: float, gamma: float) -> bytes:
    """Header as XML text.

    Args:
        raw: Raw data with labels.
        spaces: Matrix and field of view, encoded and reconstructed.
        b0: Field strength [T].
        gamma: Gyromagnetic ratio over 2 pi [Hz/T].
    """
    from ismrmrd import xsd

    system = xsd.acquisitionSystemInformationType(
        systemVendor=VENDOR,
        systemModel="simulation",
        systemFieldStrength_T=float(b0),
        receiverChannels=int(raw.signal.shape[0]),
        institutionName=VENDOR,
    )
    name = str(raw.provenance.get("sequence", "")) or "unnamed"
    position = xsd.patientPositionType.HFS
    header = xsd.ismrmrdHeader(
        version=1,
        measurementInformation=xsd.measurementInformationType(
            measurementID="1", patientPosition=position, protocolName=name, sequenceName=name
        ),
        acquisitionSystemInformation=system,
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=round(b0 * gamma)),
        encoding=[_encoding(raw, spaces)],
        sequenceParameters=_parameters(raw, spaces),
        userParameters=xsd.userParametersType(
            userParameterString=[
                xsd.userParameterStringType(name=key, value=value) for key, value in _explanations().items()
            ]
        ),
    )
    return xsd.ToXML(header, encoding="utf-8").encode()


def _explanations() -> dict[str, str]:
    """What the format leaves open, said in the file."""
    return {
        "signal": "sum of weight * M+ * exp(-2 pi i k r); the image is the inverse transform",
        "axes": "position and directions are LPS; position is that of voxel N//2",
        "trajectory": "read, phase, slice, in cycles per voxel of the encoded space",
        "acquisition_time_stamp": "2.5 ms",
        "user_int": USER_INTS,
        "user_float": f"{', '.join(USER_FLOATS)} in s and rad, nan where there is none",
    }


def _encoding(raw: RawData, spaces: Spaces) -> Any:
    from ismrmrd import xsd

    limits = xsd.encodingLimitsType(**_limits(raw, spaces))
    kind = xsd.trajectoryType.CARTESIAN if spaces.cartesian else xsd.trajectoryType.OTHER
    if spaces.cartesian and np.any(raw.readouts.label("REV")):
        kind = xsd.trajectoryType.EPI
    return xsd.encodingType(
        encodedSpace=_space(spaces.encoded_matrix, spaces.encoded_fov),
        reconSpace=_space(spaces.matrix, spaces.fov),
        encodingLimits=limits,
        trajectory=kind,
        echoTrainLength=int(np.max(raw.readouts.label("ECO"), initial=0)) + 1,
    )


def _space(matrix: tuple[int, int, int], fov: tuple[float, float, float]) -> Any:
    from ismrmrd import xsd

    x, y, z = (float(round(length / MM, 9)) for length in fov)
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=int(matrix[0]), y=int(matrix[1]), z=int(matrix[2])),
        fieldOfView_mm=xsd.fieldOfViewMm(x=x, y=y, z=z),
    )


def _limits(raw: RawData, spaces: Spaces) -> dict[str, Any]:
    from ismrmrd import xsd

    width = spaces.encoded_matrix[0]
    found = {"kspace_encoding_step_0": xsd.limitType(minimum=0, maximum=width - 1, center=width // 2)}
    size = {"LIN": spaces.encoded_matrix[1], "PAR": spaces.encoded_matrix[2]}
    for label, counter in COUNTERS.items():
        value = raw.readouts.label(label)
        low, high = int(np.min(value, initial=0)), int(np.max(value, initial=0))
        center = 0
        if label in size and spaces.cartesian:
            low, high, center = 0, size[label] - 1, size[label] // 2
        found[LIMITS.get(label, counter)] = xsd.limitType(minimum=low, maximum=high, center=center)
    return found


def _parameters(raw: RawData, spaces: Spaces) -> Any:
    from ismrmrd import xsd

    def times(name: str) -> list[float]:
        values = spaces.coordinates.get(name, np.zeros(0))
        return _distinct(values[np.isfinite(values)] / MS)

    flips = spaces.coordinates.get("flip", np.zeros(0))
    return xsd.sequenceParametersType(
        TR=times("tr"),
        TE=times("te"),
        TI=times("ti"),
        flipAngle_deg=_distinct(np.degrees(flips[np.isfinite(flips)])),
        echo_spacing=_echo_spacing(raw),
    )


def _distinct(values: Float[np.ndarray, " n"]) -> list[float]:
    """Values in their order, each once."""
    return list(dict.fromkeys(float(round(value, 6)) for value in values))


def _echo_spacing(raw: RawData) -> list[float]:
    """Time between the echoes of a train [ms]: between readouts that follow one excitation."""
    excitation = np.asarray(raw.time)[np.asarray(raw.readouts.start)] - np.asarray(raw.readouts.te)
    spacing = np.diff(np.asarray(raw.readouts.te))[np.abs(np.diff(excitation)) < 1e-6]
    spacing = spacing[np.isfinite(spacing) & (spacing > 0)]
    return [float(round(np.median(spacing) / MS, 6))] if len(spacing) else []
