"""The report of a result: what stands on its page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from mrisim.data import ParameterMap
from mrisim.events.blocks import Parameter, Sequence
from mrisim.events.diffusion import weightings
from mrisim.pipeline.explore import explore_image, explore_maps, explore_sequence, shares
from mrisim.pipeline.records import DIFFERENCES, Agreement, Result, ScanResult, TissueRow
from mrisim.report import Content, Folds, Page, Picture, Section, Table, Text, render
from mrisim.units import B_VALUE, TIME, show

_DIFFUSION_WEIGHTED = 20e6  # b value from which a sequence is shown as one that weights by diffusion [s/m²]
_SHOWN_AS = {"s": (1e3, "ms"), "m^2/s": (1e9, "um^2/ms")}
_SHOWN_BY_NAME = {
    **dict.fromkeys(("Ktrans", "Fp", "PS", "CBF"), (60.0, "1/min")), "MTT": (1.0, "s"), "PDFF": (100.0, "%"),
}  # fmt: skip


def document(result: Result, figures: dict[str, bytes]) -> str:
    """HTML of the report."""
    sections = [_overview(result, figures)]
    if result.maps:
        sections.append(_maps(result, figures))
    sections += [_scan(result, scan, figures) for scan in result.scans.values()]
    sections.append(_provenance(result))
    facts = (
        ("phantom", phantom_name(result)),
        ("scans", str(len(result.scans))),
        ("scan time", scan_time(sum(seq.duration for scan in result.scans.values() for seq in scan.sequences))),
        ("isochromats", f"{max(scan.phantom.n_spins for scan in result.scans.values()):,}"),
        ("computed in", f"{sum(result.seconds.values()):.1f} s"),
        ("findings", str(len(result.findings)) if result.findings else "none"),
    )
    page = Page(title=result.protocol.name, subtitle=result.protocol.description, facts=facts, sections=tuple(sections))
    return render(page)


def tissue_rows(rows: Iterable[TissueRow]) -> Table:
    """Table tissue · true · estimated · error, as the terminal and the report show it.

    Example:
        >>> row = TissueRow("T1", "s", "white_matter", 100, 0.8, 0.808, 0.01)
        >>> tissue_rows([row]).rows
        (('T1', 'white matter', '100', '800 ms', '808 ± 10 ms', '+1.0 %'),)
    """
    return Table(
        head=("map", "tissue", "voxels", "true", "estimated", "error"),
        rows=tuple(_row(row) for row in rows),
        right=("voxels", "true", "estimated", "error"),
        once=("map",),
    )


def agreement_rows(rows: Iterable[Agreement]) -> Table:
    """Table of maps: concordance over all voxels of the tissues above, largest error of a tissue, time resolution.

    Example:
        >>> agreement_rows([Agreement("ve", 900, 0.99931, -0.012, "edema", 6.0)]).rows
        (('ve', '900', '0.9993', '-1.2 %', 'edema', '6 s'),)
    """
    return Table(
        head=("map", "voxels", "concordance", "largest error", "in", "time step"),
        rows=tuple(
            (
                row.quantity,
                str(row.voxels),
                "one value" if np.isnan(row.concordance) else f"{row.concordance:.4f}",
                _error(row.quantity, row.largest),
                row.tissue.replace("_", " "),
                "" if np.isnan(row.interval) else show(row.interval, TIME, digits=3),
            )
            for row in rows
        ),
        right=("voxels", "concordance", "largest error", "time step"),
    )


def _error(quantity: str, error: float) -> str:
    """Relative errors in per cent; those of fractions in points, of frequencies in Hz."""
    if quantity not in DIFFERENCES:
        return f"{error * 100:+.1f} %".replace("-0.0", "+0.0")
    return f"{error * 100:+.2f} points" if quantity == "PDFF" else f"{error:+.2f} Hz"


def voxel_counts(maps: Mapping[str, ParameterMap]) -> tuple[str, ...]:
    """How many voxels each fit found values in, and how many it masked, and why; maps of one fit together.

    Example:
        >>> from mrisim.data import Grid
        >>> grid = Grid.of((1, 1, 1), (1e-3, 1e-3, 1e-3))
        >>> counts = {"background": 8000, "fitted": 1203, "empty": 45, "failed": 0}
        >>> one = ParameterMap(name="ve", unit="1", data=np.zeros((1, 1, 1)), grid=grid, provenance={"counts": counts})
        >>> voxel_counts({"Ktrans": one, "ve": one})
        ('Ktrans, ve: 1,203 voxels fitted, 45 masked (45 empty), 8,000 background',)
    """
    names: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for name, one in maps.items():
        counts = one.provenance.get("counts", {})
        if counts:
            names.setdefault(tuple(counts.items()), []).append(name)
    return tuple(f"{', '.join(several)}: {_counted(dict(counts))}" for counts, several in names.items())


def _counted(counts: dict[str, int]) -> str:
    fitted, background = counts.pop("fitted", 0), counts.pop("background", 0)
    why = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
    masked = f"{sum(counts.values()):,} masked{f' ({why})' if why else ''}"
    return f"{fitted:,} voxels fitted, {masked}, {background:,} background"


def scan_table(result: Result) -> Table:
    """One row per scan. TI and TS have a column where a scan has one."""
    head = ("scan", "sequence", "TE", "TR", "TI", "TS", "matrix", "duration")
    rows = [_scan_row(scan) for scan in result.scans.values()]
    shown = [i for i, name in enumerate(head) if name not in ("TI", "TS") or any(row[i] for row in rows)]
    return Table(
        head=tuple(head[i] for i in shown),
        rows=tuple(tuple(row[i] for i in shown) for row in rows),
        right=("duration",),
    )


def scan_time(seconds: float) -> str:
    """Duration as a user reads it.

    Example:
        >>> scan_time(75.2)
        '1 min 15 s'
        >>> scan_time(119.7)
        '2 min 0 s'
    """
    if seconds < 60:
        return show(seconds, TIME, digits=4)
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def parameter_text(parameter: Parameter) -> str:
    """Value of a parameter in a user's unit.

    Example:
        >>> from mrisim.units import LENGTH
        >>> parameter_text(Parameter("fov", (0.24, 0.24), LENGTH))
        '240 mm, 240 mm'
    """
    values = parameter.value if isinstance(parameter.value, (tuple, list, np.ndarray)) else (parameter.value,)
    return ", ".join(_value_text(value, parameter) for value in values)


def _value_text(value: object, parameter: Parameter) -> str:
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float, np.number)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return show(float(value), parameter.dimension)


def _row(row: TissueRow) -> tuple[str, ...]:
    usual = _SHOWN_AS.get(row.unit, (1.0, "" if row.unit == "1" else row.unit))
    factor, unit = _SHOWN_BY_NAME.get(row.quantity, usual)
    digits = ".2f" if row.quantity in DIFFERENCES else ".4g" if row.true * factor < 1000 else ".5g"
    true, found = (f"{value * factor:{digits}}" for value in (row.true, row.estimated))
    spread = f"{row.spread * factor:.2g}"
    return (
        row.quantity,
        row.tissue.replace("_", " "),
        str(row.voxels),
        f"{true} {unit}".rstrip(),
        f"{found} ± {spread} {unit}".rstrip(),
        _error(row.quantity, row.error),
    )


def phantom_name(result: Result) -> str:
    """Name of the phantom that was scanned."""
    model = next(iter(result.scans.values())).phantom.model
    return model.name if model is not None else result.protocol.phantom


def _overview(result: Result, figures: dict[str, bytes]) -> Section:
    content: list[Content] = [scan_table(result)]
    for finding in result.findings:
        content.append(Text(text=str(finding)))
    if result.tissues:
        content += [tissue_rows(result.tissues), agreement_rows(result.agreement)]
    content += [Text(text=text) for text in voxel_counts(result.maps)]
    if "overview" in figures:
        content.insert(0, Picture(png=figures["overview"], caption="The exam at a glance.", wide=True))
    return Section(title="Overview", content=tuple(content))


def _scan_row(scan: ScanResult) -> tuple[str, ...]:
    cells = [scan.name, scan.sequences[0].name]
    for name in ("te", "tr", "ti", "ts"):
        values = scan.image.coordinates.get(name, np.zeros(0)) if scan.image is not None else np.zeros(0)
        texts = dict.fromkeys(show(float(value), TIME, digits=4) for value in np.sort(values[np.isfinite(values)]))
        cells.append(few([*texts]))
    recon = scan.sequences[0].recon
    cells.append(" × ".join(str(n) for n in recon.matrix if n > 1) if recon is not None else "")
    cells.append(scan_time(sum(seq.duration for seq in scan.sequences)))
    return tuple(cells)


def few(texts: list[str]) -> str:
    """Up to eight texts in a row; of more, the first, the second and the last.

    Example:
        >>> few([f"{n} ms" for n in range(10, 330, 10)])
        '10 ms, 20 ms … 320 ms (32)'
    """
    if len(texts) <= 8:
        return ", ".join(texts)
    return f"{texts[0]}, {texts[1]} … {texts[-1]} ({len(texts)})"


def _maps(result: Result, figures: dict[str, bytes]) -> Section:
    pictures = {}
    for name, estimate in result.maps.items():
        fit = estimate.provenance.get("fit", {})
        options = ", ".join(f"{key}: {value}" for key, value in fit.items())
        pictures[name] = Picture(png=figures[f"map_{name}"], caption=f"{name} ({options})", wide=name in result.truth)
    scalar = [picture for name, picture in pictures.items() if result.maps[name].data.ndim == 3]
    explorer = explore_maps(result.maps, result.truth, tuple(scalar))
    rest = [picture for picture in pictures.values() if picture not in scalar]
    return Section(title="Maps", content=tuple(rest if explorer is None else [explorer, *rest]))


_CAPTIONS = {
    "image": "Image: mean of pd · M⁺ over each voxel, magnitude.",
    "sequence": "Sequence diagram of the first repetition with readouts; hatched delays are shortened.",
    "trajectory": "k-space trajectory, logical axes.",
    "kspace": "k-space magnitude.",
    "signal": "Signal.",
}


def _scan(result: Result, scan: ScanResult, figures: dict[str, bytes]) -> Section:
    seq = scan.sequences[0]
    wide = ("sequence", "image") if scan.image is not None and len(scan.image.data) > 2 else ("sequence",)
    pictures = {
        kind: Picture(png=figures[f"{scan.name}_{kind}"], caption=caption, wide=kind in wide)
        for kind, caption in _CAPTIONS.items()
        if f"{scan.name}_{kind}" in figures
    }
    about = " ".join(
        part for part in (seq.description, f"Reference: {seq.reference}." if seq.reference else "") if part
    )
    content: list[Content] = [Text(text=about)] if about else []
    if scan.image is not None and "image" in pictures:
        sizes = {name: one.image.data.size for name, one in result.scans.items() if one.image is not None}
        most = shares(sizes)[scan.name]
        content.append(explore_image(scan.name, scan.image, (pictures.pop("image"),), most))
    if "sequence" in pictures:
        content.append(explore_sequence(result, scan, (pictures.pop("sequence"),)))
    content += [*pictures.values(), _parameters(scan), timing_table(seq)]
    source = Path(seq.source)
    if source.is_file():
        text = source.read_text(encoding="utf-8")
        content.append(Text(title=f"Specification {source.name}", text=text, code=True, folded=True))
    return Section(title=f"Scan {scan.name}", content=tuple(content))


def _parameters(scan: ScanResult) -> Folds:
    """All parameters; those that differ between runs with all their values."""
    first = scan.sequences[0].parameters
    lines = []
    for name, parameter in first.items():
        values = dict.fromkeys(parameter_text(seq.parameters[name]) for seq in scan.sequences)
        default = all(seq.parameters[name].is_default for seq in scan.sequences)
        lines.append((name, " | ".join(values), {"meaning": parameter.doc, "from": "default" if default else "set"}))
    return Folds(title="Parameters", lines=tuple(lines))


def timing_table(seq: Sequence) -> Table:
    """Timing constraints as asked and as found."""
    rows = []
    for r in seq.timing:
        fill = f"{r.fill} {show(r.fill_duration, TIME)}" if r.fill else ""
        rows.append((r.name, show(r.asked, TIME), show(r.found, TIME), fill, f"{r.start} → {r.stop}"))
    head = ("timing", "asked", "found", "solved delay", "between")
    return Table(head=head, rows=tuple(rows), right=("asked", "found"))


def weighting_text(seq: Sequence) -> Table | str:
    """Table of distinct diffusion weightings; of a sequence that hardly weights, one line.

    Example:
        >>> from mrisim.sequence import load_sequence
        >>> weighting_text(load_sequence("spin_echo"))
        'diffusion weighting at most 1.34 s/mm^2'
    """
    found = weightings(seq)
    strongest = max((one.b for one in found), default=0.0)
    if strongest < _DIFFUSION_WEIGHTED:
        return f"diffusion weighting at most {show(strongest, B_VALUE, digits=3)}"
    rows = []
    for one in sorted(found, key=lambda one: round(one.b, -6)):
        axis = one.direction
        text = "" if axis is None else " ".join(f"{part:+.3f}" for part in axis)
        rows.append((show(one.b, B_VALUE, digits=4), text, str(one.count)))
    return Table(head=("b value", "direction x y z", "echoes"), rows=tuple(rows), right=("b value", "echoes"))


def _provenance(result: Result) -> Section:
    seconds = tuple((name, f"{value:.2f}") for name, value in result.seconds.items())
    total = ("total", f"{sum(result.seconds.values()):.2f}")
    options = tuple(
        (name, "default" if value is None else str(value)) for name, value in result.provenance["options"].items()
    )
    versions = tuple(result.provenance["versions"].items())
    content: list[Content] = [
        Table(head=("phase", "seconds"), rows=(*seconds, total), right=("seconds",)),
        Table(head=("option", "value"), rows=options),
        Table(head=("software", "version"), rows=versions),
    ]
    if result.protocol.text:
        content.append(Text(title="Protocol", text=result.protocol.text, code=True, folded=True))
    return Section(title="How it was made", content=tuple(content))
