"""`holdfast data`: fetch what has a public address."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.console import guarded, out, say

app = typer.Typer(
    help="Fetch tables of recorded scores into the cache.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    pass


@app.command("fetch")
@guarded
def fetch_table(
    name: Annotated[str, typer.Argument(help="A name of `holdfast list tables`.")],
) -> None:
    """Fetch a table; a transfer that broke off goes on where it was.

    The file's sha256 is held against the publisher's where there is one, else against that of
    the first fetch; a file that was deleted and fetched again replaces it, with a note. A table
    without a public address tells what to do by hand.
    """
    from holdfast.search.tables import fetch

    found = fetch(name)
    if found.note:
        say(found.note)
    elif not found.checked:
        say("the publisher gives no sha256; this one is kept beside the file")
    out.print(f"{found.path}: sha256 {found.sha256}", markup=False)
    out.print(f"ready: --table {name}", markup=False)
