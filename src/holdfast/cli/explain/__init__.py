"""`holdfast explain`: which design choices make models robust, and what would help this one."""

from __future__ import annotations

import typer

from holdfast.cli.explain.advise import advise
from holdfast.cli.explain.anatomy import anatomy
from holdfast.cli.explain.causal import causal
from holdfast.cli.explain.fine_tuning import fine_tuning
from holdfast.cli.explain.ranks import ranks
from holdfast.cli.explain.rules import rules
from holdfast.cli.explain.theory import theory

app = typer.Typer(
    help="Which design choices make models robust, and what would help this one?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("anatomy")(anatomy)
app.command("ranks")(ranks)
app.command("rules")(rules)
app.command("causal")(causal)
app.command("theory")(theory)
app.command("advise")(advise)
app.command("fine-tuning")(fine_tuning)

__all__ = ["app"]
