"""`onnxopt`: the commands and how they end."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from onnxopt.cli.backends import backends
from onnxopt.cli.bench import bench
from onnxopt.cli.bisect import bisect
from onnxopt.cli.diff import diff
from onnxopt.cli.explore import explore
from onnxopt.cli.inspect import inspect
from onnxopt.cli.lower import lower
from onnxopt.cli.passes import passes
from onnxopt.cli.reduce import reduce
from onnxopt.cli.report import report
from onnxopt.cli.run import run
from onnxopt.cli.sensitivity import sensitivity
from onnxopt.cli.sources import takes_sources
from onnxopt.cli.verify import verify
from onnxopt.errors import OnnxoptError

_USAGE = 2
_INTERNAL = 3
_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (run, lower, passes, backends, inspect, explore, diff, report, verify, bench, sensitivity, bisect, reduce)
for command in COMMANDS:
    app.command(no_args_is_help=command not in (passes, backends))(takes_sources(command))


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"onnxopt {version('onnxopt')}\n")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show Python's traceback with an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A compiler for trained models: every pass is proven on data as it runs.

    Exit status: 0 done, 1 a check failed, 2 wrong use or bad input, 3 an internal error.
    """


def main() -> None:
    """Run the command line; every error ends in one message and an exit status, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is no reason to fail
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        status = app(arguments or ["--help"], prog_name="onnxopt", standalone_mode=False) or 0
    except OnnxoptError as error:
        _end(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets a line and a status
        say = getattr(error, "format_message", None)
        if say is not None:  # a usage error of click's, which some versions of typer carry inside
            _end(_usage(error, say()), _USAGE, debug)
        reason = " ".join(f"{type(error).__name__}: {error}".split("\n")[:1])
        _end(f"internal error, please report it ({reason}); --debug shows where", _INTERNAL, debug)
    if status == _INTERRUPTED:
        _end("interrupted", _INTERRUPTED, False)
    sys.exit(status)


def _usage(error: Exception, said: str) -> str:
    """The command and what is wrong with how it was given, in one line."""
    message = " ".join(said.split())
    context = getattr(error, "ctx", None)
    if getattr(error, "cmd", None) is None and context is None:
        return message
    path = context.command_path if context else "onnxopt"
    return f"{message.rstrip('.')}; `{path} --help` has the usage"


def _end(message: str, status: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"onnxopt: {message}\n")
    sys.exit(status)
