"""Gallery: a page with pictures for every sequence, phantom and protocol of the library, and an index of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import mrisim as mr
from _pages import pictures
from mrisim.events.readouts import readout_table
from mrisim.paths import library_files
from mrisim.phantom import list_phantoms, load_model
from mrisim.pipeline.summary import parameter_text, scan_time, timing_table, weighting_text
from mrisim.protocol import Protocol, list_protocols, load_protocol
from mrisim.sequence import list_sequences
from mrisim.units import FIELD, LENGTH, TIME, show

GROUPS: dict[str, tuple[str, ...]] = {
    "Spin echoes": ("spin_echo", "t1_spin_echo", "t2_spin_echo", "pd_spin_echo", "multi_echo_se"),
    "Turbo spin echoes": ("t2_tse", "t2_tse_coronal", "t2_flair", "stir"),
    "Gradient echoes and steady states": (
        "fid", "flash_2d", "flash_3d", "multi_echo_gre", "bssfp", "mprage", "radial_flash", "spiral_gre",
    ),
    "Echo-planar images": ("gre_epi", "se_epi"),
    "Diffusion": ("dwi_se_epi", "dti_se_epi", "ivim", "dwi_steam", "ogse", "trse_epi"),
    "Maps of relaxation, field, fat": (
        "inversion_recovery_se", "saturation_recovery", "look_locker", "mp2rage", "vfa_t1",
        "b0_dual_echo", "b1_afi", "b1_dam", "b1_bloch_siegert", "dixon",
    ),
    "Contrast agents": ("dce_spgr_3d", "dce_golden_angle", "dsc_ge_epi"),
    "Fingerprinting": ("mrf_fisp", "mrf_bssfp"),
}  # fmt: skip
OTHERS = "Others"
_CARD = """\
:::{{grid-item-card}} {title}
:link: {link}
:link-type: doc
:img-top: {picture}
:class-img-top: {kind}

{text}
:::
"""


def groups() -> dict[str, list[str]]:
    """Groups of sequences with what the library has, and a last one for what nobody has put into a group.

    Example:
        >>> groups()["Fingerprinting"]
        ['mrf_fisp', 'mrf_bssfp']
    """
    there = [row[0] for row in list_sequences()]
    found = {title: [name for name in names if name in there] for title, names in GROUPS.items()}
    rest = [name for name in there if not any(name in names for names in found.values())]
    return {**found, OTHERS: rest} if rest else found


def write(folder: Path, cache: Path) -> None:
    """Write all pages of the gallery and draw their pictures."""
    jobs: list[pictures.Job] = []
    for name, _ in _named(list_sequences()):
        (folder / "sequences").mkdir(parents=True, exist_ok=True)
        seq = mr.load_sequence(name)
        sampled = bool((seq.blocks.adc >= 0).any())
        (folder / "sequences" / f"{name}.md").write_text(sequence_page(name, seq, sampled), encoding="utf-8")
        jobs.append((pictures.sequence_diagram, name, folder / "sequences" / f"{name}.png"))
        if sampled:
            jobs.append((pictures.trajectory, name, folder / "sequences" / f"{name}_k.png"))
    for name, text in _named(list_phantoms()):
        (folder / "phantoms").mkdir(parents=True, exist_ok=True)
        (folder / "phantoms" / f"{name}.md").write_text(phantom_page(name, text), encoding="utf-8")
        if _has_size(name):
            jobs.append((pictures.phantom_maps, name, folder / "phantoms" / f"{name}.png"))
            if load_model(name).agent is not None:
                jobs.append((pictures.kinetic_maps, name, folder / "phantoms" / f"{name}_agent.png"))
    for name, _ in _named(list_protocols()):
        (folder / "protocols").mkdir(parents=True, exist_ok=True)
        page = protocol_page(name, load_protocol(name))
        (folder / "protocols" / f"{name}.md").write_text(page, encoding="utf-8")
    pictures.draw(jobs, cache)
    (folder / "sequence_gallery.md").write_text(sequence_index(), encoding="utf-8")
    (folder / "phantom_gallery.md").write_text(phantom_index(), encoding="utf-8")
    (folder / "protocol_gallery.md").write_text(protocol_index(), encoding="utf-8")


def _named(rows: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in rows]


def _has_size(name: str) -> bool:
    return bool(load_model(name).shapes)


def sequence_index() -> str:
    """Sequences in groups, a card with its diagram for each."""
    about = dict(_named(list_sequences()))
    parts = [
        "# Gallery: sequences\n",
        "Every sequence of the library: a repetition, k-space, the file. [What they share](../sequences.md).\n",
    ]
    for title, names in groups().items():
        cards = [
            _CARD.format(
                title=f"`{n}`",
                link=f"sequences/{n}",
                picture=f"sequences/{n}.png",
                kind="gallery-picture",
                text=about[n],
            )
            for n in names
        ]
        parts += [f"## {title}\n", "::::{grid} 1 2 2 3\n:gutter: 3\n", *cards, "::::\n"]
    return "\n".join([*parts, _toctree("sequences", [n for names in groups().values() for n in names])])


def phantom_index() -> str:
    """A card for each phantom."""
    parts = ["# Gallery: phantoms\n", "What an image of each should show, in the plane through its center.\n"]
    parts += ["::::{grid} 1 1 2 2\n:gutter: 3\n"]
    rows = _named(list_phantoms())
    for name, text in rows:
        card = _CARD.format(
            title=f"`{name}`", link=f"phantoms/{name}", picture=f"phantoms/{name}.png", kind="gallery-strip", text=text
        )
        parts.append(card if _has_size(name) else _without_picture(card))
    return "\n".join([*parts, "::::\n", _toctree("phantoms", [name for name, _ in rows])])


def protocol_index() -> str:
    """A card for each protocol."""
    parts = ["# Gallery: exams\n", "A protocol is an exam: a phantom, scans, and the maps that follow from them.\n"]
    parts += ["::::{grid} 1 1 2 2\n:gutter: 3\n"]
    rows = _named(list_protocols())
    for name, text in rows:
        picture = f"phantoms/{load_protocol(name).phantom}.png"
        parts.append(
            _CARD.format(title=f"`{name}`", link=f"protocols/{name}", picture=picture, kind="gallery-strip", text=text)
        )
    return "\n".join([*parts, "::::\n", _toctree("protocols", [name for name, _ in rows])])


def _without_picture(card: str) -> str:
    return "\n".join(line for line in card.splitlines() if "img-top" not in line) + "\n"


def _toctree(folder: str, names: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", "", *[f"{folder}/{name}" for name in names], "```", ""])


def sequence_page(name: str, seq: mr.Sequence, sampled: bool) -> str:
    """A sequence: what it is, one repetition, k-space, parameters, times, file."""
    parts = [f"# `{name}`\n", f"{_plain(seq.description)}\n"]
    if seq.reference:
        parts.append(f"*{_plain(seq.reference)}*\n")
    table = readout_table(seq)
    parts.append(f"{scan_time(seq.duration)} at the defaults · {len(seq.blocks):,} blocks · {len(table):,} readouts\n")
    parts += _commands(f"mrisim show {name} --out out/{name}", f"mrisim new my_{name} --from {name}")
    parts += ["## One repetition\n", f"![Sequence diagram of {name}]({name}.png)\n"]
    if sampled:
        few = pictures.smaller(seq)
        note = " Drawn with `" + ", ".join(f"{key}={value}" for key, value in few.items()) + "`." if few else ""
        parts += ["## k-space\n", f"Colour is time.{note}\n", f"![k-space of {name}]({name}_k.png)\n"]
    rows = [(f"`{key}`", parameter_text(p), p.doc) for key, p in seq.parameters.items()]
    parts += ["## Parameters\n", _table(("parameter", "default", "meaning"), rows)]
    timing = timing_table(seq)
    if timing.rows:
        parts += ["## Times\n", _table(timing.head, [tuple(row) for row in timing.rows])]
    weighting = weighting_text(seq)
    if not isinstance(weighting, str):
        rows = [tuple(row) for row in weighting.rows]
        shown = rows if len(rows) <= 20 else rows[:20]
        parts += ["## Diffusion weighting\n", "From the gradients as played.\n", _table(weighting.head, shown)]
        if len(rows) > len(shown):
            parts.append(f"And {len(rows) - len(shown)} more: `mrisim show {name}`.\n")
    return "\n".join([*parts, *_source("sequences", name)])


def phantom_page(name: str, text: str) -> str:
    """A phantom: what it shows, where its values come from, tissues, file."""
    model = load_model(name)
    size = " × ".join(show(side, LENGTH) for side in model.size if side)
    parts = [f"# `{name}`\n", f"{_plain(text)}.\n" if not text.endswith(".") else f"{_plain(text)}\n"]
    parts.append(f"{size + ' · ' if size else ''}{show(model.field, FIELD)}\n")
    parts += _commands(f"mrisim run spin_echo --phantom {name} --out out/{name}")
    if _has_size(name):
        parts += ["## What images should show\n", f"![Maps of {name}]({name}.png)\n"]
    if model.agent is not None:
        parts += ["Uptake of the contrast agent:\n", f"![Exchange of the agent in {name}]({name}_agent.png)\n"]
    rows = [
        (_plain(t.name), *(show(value, TIME, digits=3) for value in (t.t1, t.t2)), f"{t.pd:.3g}")
        for t in model.tissues
        if t.pd > 0
    ]
    parts += ["## Tissues\n", _table(("tissue", "T1", "T2", "proton density"), rows)]
    if model.sources:
        parts += ["## Sources\n", *[f"* {_plain(source)}" for source in model.sources], ""]
    return "\n".join([*parts, *_source("phantoms", name)])


def protocol_page(name: str, protocol: Protocol) -> str:
    """A protocol: its scans, its maps, file."""
    parts = [f"# `{name}`\n", f"{_plain(protocol.name)}. {_plain(protocol.description)}\n"]
    if protocol.reference:
        parts.append(f"*{_plain(protocol.reference)}*\n")
    parts.append(f"Phantom: [`{protocol.phantom}`](../phantoms/{protocol.phantom}.md)\n")
    parts += _commands(f"mrisim run {name} --out out/{name}", f"mrisim check {name}")
    rows = []
    for scan in protocol.scans:
        run = {key: list(dict.fromkeys(str(run[key]) for run in scan.runs)) for key in scan.runs[0]}
        text = "<br>".join(f"{key} {', '.join(values)}" for key, values in run.items())
        rows.append(
            (f"`{scan.name}`", f"[`{scan.sequence}`](../sequences/{scan.sequence}.md)", str(len(scan.runs)), text)
        )
    parts += ["## Scans\n", _table(("scan", "sequence", "runs", "settings"), rows)]
    maps = [(f"`{key}`", ", ".join(f"{k}: {v}" for k, v in spec.items())) for key, spec in protocol.maps.items()]
    if maps:
        parts += ["## Maps\n", _table(("map", "fit"), maps)]
    if name == "brain_demo":
        parts += ["## Result\n", "![Images and maps of the demo](../../images/brain_demo.png)\n"]
    return "\n".join([*parts, *_source("protocols", name)])


def _commands(*lines: str) -> list[str]:
    return ["```sh", *lines, "```\n"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|") if text.startswith(("`", "[")) else _plain(text).replace("&lt;br>", "<br>")


def _plain(text: str) -> str:
    """Text without what Markdown would take for markup."""
    escaped = text.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
    return " ".join(escaped.split())


def _source(kind: str, name: str) -> list[str]:
    text = library_files(kind)[name].read_text("utf-8").rstrip()
    lines = [line for line in text.splitlines() if not line.startswith("# yaml-language-server")]
    return ["## The file\n", f"`{kind}/{name}.yaml`\n", "```yaml", *lines, "```", ""]
