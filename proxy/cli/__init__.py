"""The command `askonce`: parse, call, print.

Imports stand inside the commands, so that none pays for another's.
"""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.cache import cache
from proxy.cli.demo import demo

__all__ = ["main"]

app = typer.Typer(
    name="askonce",
    help="An OpenAI-compatible gateway: point any SDK's base_url at it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Default: $ASKONCE_CONFIG, else ./config.toml if there is one."),
]
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
def serve(config: _ConfigFile = None, workers: _Workers = None) -> None:
    """Serve until SIGTERM or ^C; SIGHUP reloads the configuration."""
    from proxy.cli.serve import serve

    raise typer.Exit(serve(config, workers))


@app.command()
def check(
    config: _ConfigFile = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Explain the configuration that `serve` would run with; exit 1 if it is bad."""
    from proxy.cli.check import check

    check(config, as_json=as_json)


app.command()(demo)
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
