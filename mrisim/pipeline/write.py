"""Files, figures and report of a result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrisim.io import bids, hdf5
from mrisim.io.record import plain
from mrisim.pipeline.figures import draw_all
from mrisim.pipeline.output import FORMAT, MARKER, files_below
from mrisim.pipeline.progress import Clock
from mrisim.pipeline.records import Result
from mrisim.pipeline.summary import document, phantom_name

REPORT = "report.html"


def write(result: Result, folder: Path, clock: Clock) -> Result:
    """Write everything into a folder; the report comes last, because it holds the figures and the seconds.

    Layout: `kspace/SCAN.h5`, `images/SCAN.h5`, `maps.h5`, `bids/` (a BIDS dataset, where there are images),
    `figures/*.png`, `report.html`, `run.json`.
    """
    with clock.phase("files", "Writing files"):
        _write_data(result, folder)
    with clock.phase("figures", "Drawing figures"):
        figures = draw_all(result)
        (folder / "figures").mkdir()
        for name, content in figures.items():
            (folder / "figures" / f"{name}.png").write_bytes(content)
    result = replace(result, seconds=dict(clock.seconds))
    (folder / REPORT).write_text(document(result, figures), encoding="utf-8")
    record = {**_record(result), "files": files_below(folder)}
    (folder / MARKER).write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    return result


def _write_data(result: Result, folder: Path) -> None:
    (folder / "kspace").mkdir()
    (folder / "images").mkdir()
    for name, scan in result.scans.items():
        runs = {name: scan.raw[0]} if len(scan.raw) == 1 else {f"{name}_{i + 1}": raw for i, raw in enumerate(scan.raw)}
        hdf5.save(folder / "kspace" / f"{name}.h5", runs)
        if scan.image is not None:
            hdf5.save(folder / "images" / f"{name}.h5", {name: scan.image})
    if result.maps:
        truth = {f"{name}_truth": value for name, value in result.truth.items()}
        hdf5.save(folder / "maps.h5", {**result.maps, **truth})
    _write_bids(result, folder / "bids")


def _write_bids(result: Result, folder: Path) -> None:
    chosen = {scan.name: scan.bids for scan in result.protocol.scans}
    series = tuple(
        bids.Series(name=name, image=scan.image, sequence=scan.sequences[0], suffix=chosen.get(name, ""))
        for name, scan in result.scans.items()
        if scan.image is not None
    )
    if not series:
        return
    folder.mkdir()
    dataset = bids.Dataset(
        name=result.protocol.name,
        series=series,
        maps=result.maps,
        truth=result.truth,
        phantom=next((str(scan.phantom.model.name) for scan in result.scans.values() if scan.phantom.model), ""),
        description=result.protocol.description,
    )
    bids.write_dataset(folder, dataset)


def _record(result: Result) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": 1,
        "name": result.protocol.name,
        "phantom": phantom_name(result),
        "provenance": plain(result.provenance),
        "seconds": plain(result.seconds),
        "findings": plain(result.findings),
        "tissues": [{**plain(row), "error": row.error} for row in result.tissues],
        "agreement": [plain(row) for row in result.agreement],
        "maps": {name: plain(one.provenance) for name, one in result.maps.items()},
        "scans": {name: [_run(seq, raw) for seq, raw in zip(scan.sequences, scan.raw, strict=True)]
                  for name, scan in result.scans.items()},
    }  # fmt: skip


def _run(seq: Any, raw: Any) -> dict[str, Any]:
    return {
        "sequence": seq.name,
        "source": Path(seq.source).name,
        "duration": seq.duration,
        "parameters": {name: plain(parameter.value) for name, parameter in seq.parameters.items()},
        "simulation": plain({key: value for key, value in raw.provenance.items() if key != "parameters"}),
    }
