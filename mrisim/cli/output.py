"""What commands print: tables and the result of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mrisim.pipeline import Result
    from mrisim.report import Table


_WIDTH = 120  # of tables in a file or a pipe


def print_result(result: Result) -> None:
    """Print scans, tissues, notes and times of a run."""
    from mrisim.pipeline.summary import agreement_rows, scan_table, tissue_rows, voxel_counts

    print_table(scan_table(result))
    if result.tissues:
        print_table(tissue_rows(result.tissues))
        print_table(agreement_rows(result.agreement))
    for text in voxel_counts(result.maps):
        typer.echo(text)
    for finding in result.findings:
        typer.echo(f"note: {finding}")
    seconds = " · ".join(f"{name} {value:.1f} s" for name, value in result.seconds.items() if value >= 0.05)
    typer.echo(f"{sum(result.seconds.values()):.1f} s: {seconds}")
    if result.folder is not None:
        typer.echo(f"report: {result.folder / 'report.html'}")


def print_rows(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table of texts; nothing where it has no rows."""
    from mrisim.report import Table

    if rows:
        print_table(Table(head=head, rows=tuple(rows)))


def print_table(table: Table) -> None:
    """Print a table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in table.head:
        shown.add_column(name, justify="right" if name in table.right else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(cell.replace("[", r"\[") for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(shown)
