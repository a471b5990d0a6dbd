"""`onnxopt`: the commands and how they end."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from onnxopt.cli.backends import backends
from onnxopt.cli.bisect import bisect
from onnxopt.cli.diff import diff
from onnxopt.cli.inspect import inspect
from onnxopt.cli.passes import passes
from onnxopt.cli.run import run
from onnxopt.cli.verify import verify
from onnxopt.errors import OnnxoptError

_INTERNAL = 3
_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, passes, backends, inspect, diff, verify, bisect):
    app.command()(command)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show Python's traceback with an error.")] = False,
) -> None:
    """A compiler for trained models: every pass is proven on data as it runs.

    Exit status: 0 done, 1 a check failed, 2 wrong use or bad input, 3 an internal error.
    """


def main() -> None:
    """Run the command line; every error ends in one message and an exit status, never in a traceback."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments)
    except OnnxoptError as error:
        _end(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _end("interrupted; no output was touched", _INTERRUPTED, False)
    except BrokenPipeError:  # the reader of our stdout has enough
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets a line and a status
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        _end(f"internal error, please report it ({reason}); --debug shows where", _INTERNAL, debug)


def _end(message: str, status: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"onnxopt: {message}\n")
    sys.exit(status)
