"""`holdfast`: one program, verbs as commands."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from holdfast.cli.console import take_debug
from holdfast.cli.craft import craft
from holdfast.cli.data import app as data
from holdfast.cli.demo import demo
from holdfast.cli.explain import app as explain
from holdfast.cli.listing import listing
from holdfast.cli.measure import measure
from holdfast.cli.model_info import read, write
from holdfast.cli.report import report
from holdfast.cli.search import app as search
from holdfast.cli.show import show
from holdfast.cli.train import app as train
from holdfast.core.version import VERSION

app = typer.Typer(
    name="holdfast",
    help="How well a vision model holds under noise, corruption and attack; why; "
    "and how to get one that holds better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"holdfast {VERSION}")
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere on the line.")
    ] = False,
) -> None:
    pass


app.command("measure")(measure)
app.command("craft")(craft)
app.command("show")(show)
app.command("report")(report)
app.add_typer(search, name="search")
app.add_typer(train, name="train")
app.add_typer(explain, name="explain")
app.add_typer(data, name="data")
app.command("list")(listing)
app.command("write-model-info")(write)
app.command("read-model-info")(read)
app.command("demo")(demo)


def run() -> None:
    """Entry point of the `holdfast` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    app(take_debug(sys.argv[1:]))
