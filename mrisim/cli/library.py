"""Commands that show what there is: list, show, schema."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mrisim.cli.exits import exits
from mrisim.cli.options import (
    OutOption,
    SetOption,
    StrictOption,
    SystemOption,
    UseOption,
    assignments,
    reading,
    refuse_with_protocol,
)
from mrisim.cli.output import print_rows, print_table

if TYPE_CHECKING:
    from mrisim.events.blocks import Sequence


class Kind(StrEnum):
    """Kinds of specification files."""

    sequence = "sequence"
    phantom = "phantom"
    protocol = "protocol"


@exits
def list_() -> None:
    """List sequences, protocols and phantoms of the library."""
    from mrisim.phantom import list_phantoms
    from mrisim.protocol import list_protocols
    from mrisim.sequence import list_sequences

    for title, rows in (
        ("sequences", list_sequences()),
        ("protocols", list_protocols()),
        ("phantoms", list_phantoms()),
    ):
        print_rows((title, ""), [(row[0], row[1]) for row in rows])


@exits
def show(
    name: Annotated[str, typer.Argument(help="Sequence or protocol: name in the library, .yaml or .seq file.")],
    set_: SetOption = None,
    out: OutOption = None,
    system: SystemOption = None,
    use: UseOption = None,
    strict: StrictOption = False,
) -> None:
    """Show resolved parameters, timing and readouts; with --out, draw sequence diagram and trajectory."""
    from mrisim.io.sequences import load_sequence
    from mrisim.protocol import load_protocol, protocol_file

    if protocol_file(name) is not None:
        refuse_with_protocol(set_, out)
        _show_protocol(load_protocol(name))
        return
    sequence = load_sequence(name, **reading(system, use, strict), **assignments(set_ or []))
    _show_sequence(sequence)
    if out is not None:
        _draw_sequence(sequence, out)


@exits
def schema(
    kind: Annotated[Kind, typer.Argument(help="Which language.")],
) -> None:
    """Print the JSON Schema that editors complete and check specifications with."""
    import importlib
    import json

    module = importlib.import_module(
        {"sequence": "mrisim.sequence", "phantom": "mrisim.phantom"}.get(kind, "mrisim.protocol")
    )
    typer.echo(json.dumps(module.json_schema(), indent=2, ensure_ascii=False))


def _show_sequence(sequence: Sequence) -> None:
    from mrisim.pipeline.summary import parameter_text, scan_time, timing_table, weighting_text

    typer.echo(f"{sequence.name}: {sequence.description}" if sequence.description else sequence.name)
    if sequence.reference:
        typer.echo(f"Reference: {sequence.reference}")
    rows = [
        (name, parameter_text(parameter), "" if parameter.is_default else "set", parameter.doc)
        for name, parameter in sequence.parameters.items()
    ]
    print_rows(("parameter", "value", "", "meaning"), rows)
    if sequence.timing:
        print_table(timing_table(sequence))
    typer.echo(found_times(sequence))
    weighting = weighting_text(sequence)
    typer.echo(weighting) if isinstance(weighting, str) else print_table(weighting)
    typer.echo(f"duration {scan_time(sequence.duration)}, {len(sequence.blocks):,} blocks")
    for finding in sequence.findings:
        typer.echo(f"note: {finding}")


def found_times(sequence: Sequence) -> str:
    """TE, TR, TI and TS as found in the blocks, one line; TI and TS at the center of k-space.

    TR of a train after an inversion is from inversion to inversion.

    Example:
        >>> from mrisim.sequence import load_sequence
        >>> found_times(load_sequence("spin_echo", TE="20 ms", TR="1 s")).startswith("found TE 20 ms · TR 1 s")
        True
    """
    import numpy as np

    from mrisim.checking.coverage import central_readouts, repetition_times
    from mrisim.events.readouts import readout_table
    from mrisim.units import TIME
    from mrisim.units import show as text

    parts, table = [], readout_table(sequence)
    central = central_readouts(sequence, table) if len(table) else []
    columns = {
        "te": table.te, "tr": repetition_times(sequence, table), "ti": np.asarray(table.ti)[central],
        "ts": np.asarray(table.ts)[central],
    }  # fmt: skip
    for name, found in columns.items():
        values = np.unique(np.round(found[np.isfinite(found)], 9))
        if len(values) == 0:
            continue
        few = ", ".join(text(float(value), TIME) for value in values[:4])
        span = f"{text(float(values[0]), TIME)} to {text(float(values[-1]), TIME)}"
        parts.append(f"{name.upper()} {few if len(values) <= 4 else span}")
    return f"found {' · '.join(parts) or 'no echo time'} · {len(table)} readouts"


def _show_protocol(protocol: Any) -> None:
    typer.echo(f"{protocol.name}: {protocol.description}" if protocol.description else protocol.name)
    typer.echo(f"phantom: {protocol.phantom}")
    rows = []
    for scan in protocol.scans:
        settings = {key: list(dict.fromkeys(str(run[key]) for run in scan.runs)) for key in scan.runs[0]}
        text = " · ".join(f"{key} {', '.join(values)}" for key, values in settings.items())
        rows.append((scan.name, Path(scan.sequence).name, str(len(scan.runs)), text))
    print_rows(("scan", "sequence", "runs", "settings"), rows)
    maps = [(name, ", ".join(f"{key}: {value}" for key, value in spec.items())) for name, spec in protocol.maps.items()]
    print_rows(("map", "fit"), maps)


def _draw_sequence(sequence: Sequence, out: Path) -> None:
    from mrisim import plot
    from mrisim.pipeline.output import writable_folder

    folder = writable_folder(out)
    figures = {"sequence": plot.sequence(sequence)}
    if (sequence.blocks.adc >= 0).any():
        figures["trajectory"] = plot.trajectory(sequence)
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        path.write_bytes(plot.png(figure))
        typer.echo(f"wrote {path}")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("list")(list_)
    app.command()(show)
    app.command()(schema)
