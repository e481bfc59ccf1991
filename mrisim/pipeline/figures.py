"""The figures of a result, as PNG files in memory."""

from __future__ import annotations

from collections.abc import Mapping

from mrisim.data import ParameterMap
from mrisim.pipeline.records import Result, ScanResult
from mrisim.units import TIME, show


def draw_all(result: Result) -> dict[str, bytes]:
    """Name → PNG: the exam at a glance; diagram, trajectory, k-space and image of each scan; each map by its truth."""
    figures = _draw_overview(result)
    for name, scan in result.scans.items():
        figures.update(_draw_scan(name, scan))
    figures.update(_draw_maps(result))
    return figures


def _draw_overview(result: Result) -> dict[str, bytes]:
    """Images with one contrast, and maps; nothing for a single scan without maps, whose image is drawn anyway."""
    from mrisim import plot

    images = {
        f"{name}: {scan.sequences[0].name}": scan.image
        for name, scan in result.scans.items()
        if scan.image is not None and len(scan.image.data) == 1
    }
    if len(images) + len(result.maps) < 2:
        return {}
    maps, truth = _captioned(result.maps), _captioned(result.truth)
    return {"overview": plot.png(plot.overview(images, maps, truth=truth, title=result.protocol.name))}


def _captioned(maps: Mapping[str, ParameterMap]) -> dict[str, ParameterMap]:
    from mrisim import plot

    shown = _coloured(maps)
    return {"colour FA" if name == "V1" else f"{plot.spelled(name)} map": value for name, value in shown.items()}


def _draw_scan(name: str, scan: ScanResult) -> dict[str, bytes]:
    from mrisim import plot

    seq, raw = scan.sequences[0], scan.raw[0]
    figures = {f"{name}_sequence": plot.png(plot.sequence(seq, title=f"{name}: {seq.name}"))}
    if len(raw.time):
        figures[f"{name}_trajectory"] = plot.png(plot.trajectory(raw))
    if scan.image is not None:
        figures[f"{name}_kspace"] = plot.png(plot.kspace(raw))
        figures[f"{name}_image"] = plot.png(plot.image(scan.image, title=f"{name}: {seq.name}"))
    elif len(raw.time):
        curves = {"real": raw.signal[0].real, "imaginary": raw.signal[0].imag, "magnitude": abs(raw.signal[0])}
        title = f"{name}: {seq.name}, {show(seq.duration, TIME, digits=4)}"
        figures[f"{name}_signal"] = plot.png(plot.signal(raw.time * 1e3, curves, xlabel="time / ms", title=title))
    return figures


def _draw_maps(result: Result) -> dict[str, bytes]:
    from mrisim import plot

    figures = {}
    true = _coloured(result.truth)
    for name, estimate in _coloured(result.maps).items():
        truth = true.get(name)
        figure = plot.parameter_map(estimate) if truth is None else plot.map_comparison(truth, estimate)
        figures[f"map_{name}"] = plot.png(figure)
    return figures


def _coloured(maps: Mapping[str, ParameterMap]) -> dict[str, ParameterMap]:
    """The maps, with directions weighted by the anisotropy where there is a map of it."""
    from mrisim import plot

    if "V1" not in maps or "FA" not in maps:
        return dict(maps)
    return {**maps, "V1": plot.weighted_directions(maps["V1"], maps["FA"])}
