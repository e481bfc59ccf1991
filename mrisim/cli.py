"""Command line: arguments → pipeline, exit codes.

Exit codes: 0 fine · 1 `check` found violations · 2 bad input, with its message and nothing else · 130 interrupted.
Heavy imports stand inside the commands, so that `mrisim --help` answers at once.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mrisim.errors import MrisimError, Problem, SpecError

if TYPE_CHECKING:
    from mrisim.data import ReadoutTable
    from mrisim.events.blocks import Sequence
    from mrisim.pipeline import Result
    from mrisim.report import Table

VIOLATIONS, BAD_INPUT, INTERRUPTED = 1, 2, 130
MAX_SHOWN = 20  # violations of a file

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mrisim"
_COMPILE_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(_CACHE / "xla"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}  # what was compiled once is there for the next process; the user's own setting wins

_F = TypeVar("_F", bound=Callable[..., Any])
app = typer.Typer(
    name="mrisim",
    help="MRI simulator: YAML sequence and phantom in; k-space, images, maps and a report out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Pulses(StrEnum):
    """How pulses act."""

    shaped = "shaped"
    ideal = "ideal"


class Spoiling(StrEnum):
    """How transverse magnetisation is spoiled."""

    gradient = "gradient"
    ideal = "ideal"


class Engine(StrEnum):
    """State that the simulation carries."""

    bloch = "bloch"
    epg = "epg"


class Precision(StrEnum):
    """Precision of the device."""

    float32 = "float32"
    float64 = "float64"


class Kind(StrEnum):
    """Kinds of specification files."""

    sequence = "sequence"
    phantom = "phantom"
    protocol = "protocol"


SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter; repeatable.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Refuse what a .seq file may be forgiven.")]
SystemOption = Annotated[str | None, typer.Option("--system", help="Scanner of a .seq file: name or .yaml file.")]
UseOption = Annotated[
    list[str] | None,
    typer.Option("--use", metavar="USE=NUMBERS", help="What pulses of a .seq file are for: refocusing=2,5-9."),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run into the same folder.")]
HostsOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT/PROCESSES/RANK",
        help="Share the work among processes: as Slurm or MPI started them, or as told.",
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder to write to.")]


def _exits(command: _F) -> _F:
    """Turn typed errors into their message and exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except MrisimError as error:
            for line in str(error).splitlines():
                typer.echo(f"error: {line}", err=True)
            if kwargs.get("hosts"):
                _leave_hosts(BAD_INPUT)
            raise typer.Exit(BAD_INPUT) from None
        except BrokenPipeError:
            raise  # the reader has seen enough: `mrisim list | head`
        except OSError as error:
            reason = error.strerror or str(error)
            typer.echo(
                f"error: {error.filename or 'output'}: must be readable and writable, but is not: {reason}", err=True
            )
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            resumable = command.__name__ in ("run", "demo")
            typer.echo(f"interrupted{'; --resume goes on from here' * resumable}", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return wrapper  # type: ignore[return-value]


def _leave_hosts(code: int) -> None:
    """End a process that shares its work: without waiting for peers that may be gone."""
    from mrisim.simulate.hosts import leave

    leave(code)


@app.command("list")
@_exits
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
        _print_rows((title, ""), [(row[0], row[1]) for row in rows])


@app.command()
@_exits
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
        _refuse_with_protocol(set_, out)
        _show_protocol(load_protocol(name))
        return
    sequence = load_sequence(name, **_reading(system, use, strict), **assignments(set_ or []))
    _show_sequence(sequence)
    if out is not None:
        _draw_sequence(sequence, out)


@app.command()
@_exits
def run(
    name: Annotated[str, typer.Argument(help="Sequence or protocol: name in the library, .yaml or .seq file.")],
    phantom: Annotated[
        str | None, typer.Option(help="Name in the library, or a .yaml, .h5, .phantom or .npz file.")
    ] = None,
    set_: SetOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for files, figures and report.")] = Path("out"),
    engine: Annotated[Engine, typer.Option(help="State of the spins.")] = Engine.bloch,
    pulses: Annotated[Pulses | None, typer.Option(help="Pulses as played, or instantaneous.")] = None,
    spoiling: Annotated[Spoiling | None, typer.Option(help="Spoiling as played, or perfect.")] = None,
    noise: Annotated[str | None, typer.Option(help="Standard deviation of a sample, or 'snr 50'.")] = None,
    coils: Annotated[int | None, typer.Option(min=1, max=256, help="Elements of the receive array.")] = None,
    dtype: Annotated[Precision, typer.Option(help="Precision of the device.")] = Precision.float32,
    memory: Annotated[str | None, typer.Option(help="Budget, such as '4 GiB'.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    voxel: Annotated[str | None, typer.Option(help="Side of a voxel in the plane, such as '1 mm'.")] = None,
    isochromats: Annotated[int | None, typer.Option(min=1, help="Per voxel.")] = None,
    field: Annotated[str | None, typer.Option(help="Field that tissues are looked up at, such as '1.5 T'.")] = None,
    resume: ResumeOption = False,
    hosts: HostsOption = None,
    system: SystemOption = None,
    use: UseOption = None,
    strict: StrictOption = False,
) -> None:
    """Simulate, reconstruct, fit maps, and write files, figures and a report."""
    from mrisim.pipeline import run as run_pipeline

    if hosts is not None:
        from mrisim.simulate.hosts import join

        join(hosts)
    result = run_pipeline(
        name,
        phantom=phantom,
        out=out,
        set=assignments(set_ or []),
        field=field,
        engine=engine.value,
        pulses=None if pulses is None else pulses.value,
        spoiling=None if spoiling is None else spoiling.value,
        dtype=dtype.value,
        coils=coils,
        noise=noise,
        seed=seed,
        memory=memory,
        voxel=voxel,
        isochromats=isochromats,
        resume=resume,
        **_reading(system, use, strict),
        progress=True,
    )
    if result.folder is not None:
        _print_result(result)


@app.command()
@_exits
def recon(
    file: Annotated[Path, typer.Argument(help="Raw data: an ISMRMRD file (.mrd, .h5), or a file of kspace/ of a run.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the images.")] = Path("out"),
    fov: Annotated[
        str | None, typer.Option(help="Read, phase, partition, where the file does not say: '240 mm, 200 mm, 5 mm'.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="none, hann, hamming or tukey.")] = None,
    combine: Annotated[str | None, typer.Option(help="Coils: adaptive or rss.")] = None,
) -> None:
    """Reconstruct raw data, and write images as HDF5, NIfTI and PNG."""
    from mrisim.pipeline.recon import image_rows, reconstruct_file

    lengths = None if fov is None else _lengths(fov, "--fov", 3)
    done = reconstruct_file(file, out, fov=lengths, window=window, combine=combine)
    _print_rows(("image", "contrasts", "matrix", "voxel"), image_rows(done.images))
    for finding in done.findings:
        typer.echo(f"note: {finding}")
    for path in done.written:
        typer.echo(f"wrote {path}")


@app.command()
@_exits
def sweep(
    name: Annotated[str, typer.Argument(help="Sequence: name in the library, or a .yaml or .seq file.")],
    grid: Annotated[
        list[str], typer.Option("--grid", metavar="NAME=VALUE,VALUE", help="Values of a parameter; repeatable.")
    ],
    phantom: Annotated[str | None, typer.Option(help="Name in the library, or a file.")] = None,
    set_: SetOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for files, figures and report.")] = Path("out"),
    isochromats: Annotated[int | None, typer.Option(min=1, help="Per voxel.")] = None,
    spoiling: Annotated[Spoiling | None, typer.Option(help="Spoiling as played, or perfect.")] = None,
    memory: Annotated[str | None, typer.Option(help="Budget, such as '4 GiB'.")] = None,
    resume: ResumeOption = False,
) -> None:
    """Run a sequence with every combination of some parameters, into one report."""
    from mrisim.pipeline import sweep as run_sweep

    values = {key: [part.strip() for part in text.split(",")] for key, text in assignments(grid).items()}
    result = run_sweep(
        name,
        values,
        phantom=phantom,
        set=assignments(set_ or []),
        out=out,
        isochromats=isochromats,
        spoiling=None if spoiling is None else spoiling.value,
        memory=memory,
        resume=resume,
        progress=True,
    )
    _print_result(result)


@app.command()
@_exits
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for files, figures and report.")] = Path("out/demo"),
    resume: ResumeOption = False,
) -> None:
    """Run the brain exam: T1- and T2-weighted images, T1 and T2 maps against the truth."""
    from mrisim.pipeline import run as run_pipeline

    _print_result(run_pipeline("brain_demo", out=out, resume=resume, progress=True))


@app.command()
@_exits
def check(
    names: Annotated[list[str], typer.Argument(help="Files or names in the library.")],
    set_: SetOption = None,
    system: SystemOption = None,
    use: UseOption = None,
    strict: StrictOption = False,
) -> None:
    """Check files: grammar, timing, and the scanner's limits. Exit code 1 where a limit is broken."""
    broken = 0
    for name in names:
        violations = _violations(name, assignments(set_ or []), _reading(system, use, strict))
        typer.echo(f"{name}: {'fine' if not violations else f'{len(violations)} violations'}")
        for violation in violations[:MAX_SHOWN]:
            typer.echo(f"  {violation}")
        if len(violations) > MAX_SHOWN:
            typer.echo(f"  and {len(violations) - MAX_SHOWN} more")
        broken += len(violations)
    if broken:
        raise typer.Exit(VIOLATIONS)


@app.command()
@_exits
def convert(
    source: Annotated[str, typer.Argument(help="File, or name in the library.")],
    target: Annotated[str, typer.Argument(help="File to write; its suffix names the format. A folder/ for DICOM.")],
    set_: SetOption = None,
    item: Annotated[str | None, typer.Option(help="Of several images or maps in a file, the one of this name.")] = None,
    version: Annotated[str | None, typer.Option(help="Of the format, such as 1.4.1.")] = None,
    rotations: Annotated[str | None, typer.Option(help="Of .seq files: apply, or extension.")] = None,
    system: SystemOption = None,
    use: UseOption = None,
    strict: StrictOption = False,
) -> None:
    """Convert a file to another format."""
    from mrisim.pipeline.convert import convert as convert_file

    given = {"set": assignments(set_ or []), "item": item, "version": version, "rotations": rotations}
    done = convert_file(source, target, **given, **_reading(system, use, strict))
    for finding in done.findings:
        typer.echo(f"note: {finding}")
    typer.echo(f"wrote {done.target}")


@app.command()
@_exits
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


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from mrisim import __version__

        typer.echo(f"mrisim {__version__}")
        raise typer.Exit
    for name, value in _COMPILE_CACHE.items():
        os.environ.setdefault(name, value)


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Parameters from texts such as "TE=96 ms" and "fov=[240 mm, 200 mm]".

    Raises:
        SpecError: a text without `=`, a name given twice, or a value that is no YAML value; all at once.

    Example:
        >>> assignments(["TE=96ms", "matrix=192"])
        {'TE': '96ms', 'matrix': '192'}
    """
    from mrisim.protocol import as_written
    from mrisim.source import parse_source

    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier() or not value.strip():
            problems.append(Problem(f"must be NAME=VALUE, but is '{text}'", "Write --set TE=96ms", path="--set"))
        elif name in values:
            problems.append(Problem(f"must be given once, but '{name}' is given twice", path="--set"))
        else:
            try:
                values[name] = as_written(parse_source(value, file="--set").data)
            except SpecError as error:
                problems += [Problem(problem.rule, problem.remedy, path=f"--set {name}") for problem in error.problems]
    if problems:
        raise SpecError(problems)
    return values


def _reading(system: str | None, use: list[str] | None, strict: bool) -> dict[str, Any]:
    """How a .seq file is read, as far as the user says."""
    uses: dict[str, list[int]] = {}
    for text in use or []:
        name, equals, numbers = text.partition("=")
        if not equals or not re.fullmatch(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*", numbers):
            raise SpecError(Problem(f"must be USE=NUMBERS, but is '{text}'", "Write --use refocusing=2,5-9", "--use"))
        for part in numbers.split(","):
            first, _, last = part.partition("-")
            if int(last or first) - int(first) > 1_000_000:
                raise SpecError(Problem(f"must name at most a million pulses, but is '{part}'", path="--use"))
            uses.setdefault(name, []).extend(range(int(first), int(last or first) + 1))
    given = {"system": system, "use": uses, "strict": strict}
    return {name: value for name, value in given.items() if value}


def _lengths(text: str, path: str, count: int) -> tuple[float, ...]:
    """Lengths [m] from a text such as "240 mm, 200 mm, 5 mm"."""
    from mrisim.units import LENGTH, parse

    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count:
        rule = f"must be {count} lengths, but is '{text}'"
        raise SpecError(Problem(rule, "Write '240 mm, 200 mm, 5 mm'", path=path))
    return tuple(float(parse(part, LENGTH)) for part in parts)


def _violations(name: str, parameters: dict[str, Any], reading: dict[str, Any]) -> list[str]:
    """What is wrong with a file that its grammar allows; phantoms and protocols have their grammar only."""
    from mrisim.pipeline.kinds import kind_of

    kind = kind_of(name)
    if kind == "phantom":
        from mrisim.io.phantoms import load_model

        load_model(name, **parameters)
        return []
    from mrisim.io.sequences import is_pulseq, load_sequence, load_system
    from mrisim.pipeline.fits import refuse_wrong_fits

    if kind == "sequence" and not is_pulseq(name) and reading.keys() == {"system"}:
        sequence, scanner = load_sequence(name, **parameters), load_system(reading["system"])
        return [str(violation) for violation in sequence.check(scanner)]
    if kind == "sequence":
        sequence = load_sequence(name, **reading, **parameters)
        refuse_wrong_fits(None, [sequence])
        for finding in sequence.findings:
            typer.echo(f"note: {finding}")
        return [str(violation) for violation in sequence.check()]
    from mrisim.pipeline.kinds import protocol_sequences
    from mrisim.protocol import load_protocol

    _refuse_with_protocol(list(parameters), None)
    refuse_wrong_fits(load_protocol(name), [])
    found = []
    for scan, sequence in protocol_sequences(name):
        found += [f"{scan}: {violation}" for violation in sequence.check()]
    return list(dict.fromkeys(found))


def _refuse_with_protocol(set_: list[str] | None, out: Path | None) -> None:
    given = "--set" if set_ else "--out" if out is not None else ""
    if given:
        raise SpecError(
            Problem("must be left out for a protocol, but is given", "Name one of its sequences", path=given)
        )


def _show_sequence(sequence: Sequence) -> None:
    from mrisim.events.readouts import readout_table
    from mrisim.pipeline.summary import parameter_text, scan_time, timing_table

    typer.echo(f"{sequence.name}: {sequence.description}" if sequence.description else sequence.name)
    if sequence.reference:
        typer.echo(f"Reference: {sequence.reference}")
    rows = [
        (name, parameter_text(parameter), "" if parameter.is_default else "set", parameter.doc)
        for name, parameter in sequence.parameters.items()
    ]
    _print_rows(("parameter", "value", "", "meaning"), rows)
    if sequence.timing:
        _print_table(timing_table(sequence))
    typer.echo(found_times(readout_table(sequence)))
    typer.echo(f"duration {scan_time(sequence.duration)}, {len(sequence.blocks):,} blocks")
    for finding in sequence.findings:
        typer.echo(f"note: {finding}")


def found_times(table: ReadoutTable) -> str:
    """TE, TR and TI as found in the blocks, one line.

    Example:
        >>> from mrisim.sequence import load_sequence
        >>> from mrisim.events.readouts import readout_table
        >>> found_times(readout_table(load_sequence("spin_echo", TE="20 ms", TR="1 s"))).startswith("found TE 20 ms")
        True
    """
    import numpy as np

    from mrisim.units import TIME
    from mrisim.units import show as text

    parts = []
    for name in ("te", "tr", "ti", "ts"):
        values = np.unique(np.round(getattr(table, name)[np.isfinite(getattr(table, name))], 9))
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
    _print_rows(("scan", "sequence", "runs", "settings"), rows)
    maps = [(name, ", ".join(f"{key}: {value}" for key, value in spec.items())) for name, spec in protocol.maps.items()]
    _print_rows(("map", "fit"), maps)


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


def _print_result(result: Result) -> None:
    from mrisim.pipeline.summary import scan_table, tissue_rows

    _print_table(scan_table(result))
    if result.tissues:
        _print_table(tissue_rows(result.tissues))
    for finding in result.findings:
        typer.echo(f"note: {finding}")
    seconds = " · ".join(f"{name} {value:.1f} s" for name, value in result.seconds.items() if value >= 0.05)
    typer.echo(f"{sum(result.seconds.values()):.1f} s: {seconds}")
    if result.folder is not None:
        typer.echo(f"report: {result.folder / 'report.html'}")


def _print_rows(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from mrisim.report import Table

    if rows:
        _print_table(Table(head=head, rows=tuple(rows)))


def _print_table(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in table.head:
        shown.add_column(name, justify="right" if name in table.right else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(cell.replace("[", r"\[") for cell in row))
    Console().print(shown)


def main() -> None:
    """Entry point of the command `mrisim`."""
    app()
