"""The command `askonce`: parse, call, print.

Imports stand inside the commands, so that none pays for another's.
"""

import sys
from importlib import metadata
from typing import Annotated

import typer

from proxy.cli.asking import ConfigFile, Json
from proxy.cli.cache import cache
from proxy.cli.calibrate import calibrate
from proxy.cli.demo import demo
from proxy.cli.keys import keys
from proxy.cli.prices import prices
from proxy.cli.usage import usage

__all__ = ["main"]

app = typer.Typer(
    name="askonce",
    help="An OpenAI-compatible gateway: point any SDK's base_url at it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Workers = Annotated[
    int | None, typer.Option(min=1, max=256, help="Processes that share the port; overrides server.workers.")
]


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (typer's callback)
    if wanted:
        try:
            typer.echo(f"askonce {metadata.version('askonce')}")
        except metadata.PackageNotFoundError:
            typer.echo("askonce, not installed")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(config: ConfigFile = None, workers: _Workers = None) -> None:
    """Serve until SIGTERM or ^C; SIGHUP reloads the configuration."""
    from proxy.cli.serve import serve

    raise typer.Exit(serve(config, workers))


@app.command()
def check(
    config: ConfigFile = None,
    *,
    as_json: Json = False,
) -> None:
    """Explain the configuration that `serve` would run with; exit 1 if it is bad."""
    from proxy.cli.check import check

    check(config, as_json=as_json)


app.command()(demo)
app.command()(usage)
app.command()(prices)
app.command()(calibrate)
app.add_typer(keys, name="keys")
app.add_typer(cache, name="cache")


def main() -> None:
    """Errors of the operator's making are one line on standard error, and exit 1."""
    from proxy.config import ConfigError
    from proxy.workers import ListenError

    try:
        app()
    except (ConfigError, ListenError) as error:
        print(f"askonce: {error}", file=sys.stderr)
        sys.exit(1)
