"""What every command says and how it ends.

Numbers go to standard output; progress, notes and errors to standard error. A command ends with
0 when all went well, 1 when a run failed, 2 when its input cannot be used, 130 after Ctrl-C.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import typer
from rich.console import Console

from holdfast.core.errors import HoldfastError

P = ParamSpec("P")
_DEBUG = "HOLDFAST_DEBUG"

_PIPE_WIDTH = 240  # of tables that go into a file or another program


class _Pipe(Console):
    """A console whose reader may go away; `guarded` ends the command then."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


out = _Pipe(highlight=False, soft_wrap=True)
if not out.is_terminal:
    out.width = _PIPE_WIDTH
err = Console(stderr=True, highlight=False, soft_wrap=True)


def take_debug(arguments: list[str]) -> list[str]:
    """Remove `--debug`, wherever it stands, and remember it."""
    if "--debug" in arguments:
        os.environ[_DEBUG] = "1"
    return [argument for argument in arguments if argument != "--debug"]


def guarded(command: Callable[P, Any]) -> Callable[P, None]:
    """Show an error as one message with the right exit status; tracebacks only with --debug."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            say("stopped; the same command goes on after the finished runs and images kept so far")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader of our output (`| head`) has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except typer.Exit:
            raise
        except HoldfastError as error:
            _fail(error, str(error), 2)
        except OSError as error:
            _fail(error, f"the system refused: {error}", 2)
        except Exception as error:  # noqa: BLE001 - the last resort before a traceback
            message = f"{type(error).__name__}: {error}\n(a bug in holdfast, or in a model's code)"
            _fail(error, message, 1)

    return run


def _fail(error: BaseException, message: str, status: int) -> None:
    if os.environ.get(_DEBUG, "0") not in ("", "0"):
        raise error
    err.print("[bold red]error:[/]", end=" ")
    err.print(message, markup=False)
    if status == 1:
        err.print("--debug shows where it came from", style="dim")
    raise typer.Exit(status) from None


def say(message: str) -> None:
    """Print a note to standard error."""
    err.print(message, markup=False)
