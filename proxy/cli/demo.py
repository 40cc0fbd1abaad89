"""`askonce demo`: what a newcomer without a key runs first."""

import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

__all__ = ["demo"]

_NOT_FOR_THE_DEMO = (
    *("ASKONCE_UPSTREAMS__", "ASKONCE_ROUTES__", "ASKONCE_ALIASES__", "ASKONCE_LISTEN__", "ASKONCE_ADMIN__"),
    *("ASKONCE_SERVER__WORKERS", "ASKONCE_AUTH__", "ASKONCE_DATA__"),
)
_VARIABLE = "ASKONCE_ADMIN_TOKEN"
_PORT, _ADMIN_PORT = "ASKONCE_LISTEN__PORT", "ASKONCE_ADMIN__PORT"

_WELCOME = """\
A fake OpenAI upstream and the gateway in front of it; any key will do, and no request leaves this machine.

  gateway   {gateway}/v1      metrics   {admin}/metrics      upstream   {upstream}

A chat completion, then the same as a stream:

  curl {gateway}/v1/chat/completions -H 'authorization: Bearer sk-demo' -H 'content-type: application/json' \\
    -d '{{"model": "gpt-4o", "messages": [{{"role": "user", "content": "Hello"}}]}}'
  curl -N {gateway}/v1/chat/completions -H 'authorization: Bearer sk-demo' -H 'content-type: application/json' \\
    -d '{{"model": "gpt-4o", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

Embeddings, and an error on request:

  curl {gateway}/v1/embeddings -H 'authorization: Bearer sk-demo' -H 'content-type: application/json' \\
    -d '{{"model": "text-embedding-3-small", "input": "Hello", "dimensions": 8}}'
  curl -i {gateway}/v1/chat/completions -H 'authorization: Bearer sk-demo' -H 'content-type: application/json' \\
    -d '{{"model": "demo-error-429", "messages": [{{"role": "user", "content": "Hello"}}]}}'

Python:

  from openai import OpenAI
  client = OpenAI(base_url="{gateway}/v1", api_key="sk-demo")
  print(client.responses.create(model="gpt-5", input="Hello").output_text)

TypeScript:

  import OpenAI from "openai";
  const client = new OpenAI({{ baseURL: "{gateway}/v1", apiKey: "sk-demo" }});
  console.log((await client.responses.create({{ model: "gpt-5", input: "Hello" }})).output_text);

More faults to order: python -m pydoc proxy.demo.faults. Two upstreams, of which one may fail: askonce demo --fallback.
^C ends it.
"""

_WELCOME_TEAM = """\
A fake OpenAI upstream and the gateway in front of it, which lets in whoever has a virtual key; no request leaves this
machine, and nothing is charged.

  gateway   {gateway}/v1      metrics   {admin}/metrics      upstream   {upstream}

In another terminal, two people who share answers, one of them with a budget of a cent:

  export {variables}
  {askonce} keys team research --new
  ann=$({askonce} keys create ann --team research --quiet)
  ben=$({askonce} keys create ben --team research --usd-in-all 0.01 --quiet)

Ben asks until his cent is spent; Ann is served still, at no cost where he has asked before:

  ask() {{ curl -s -o /dev/null -w '%{{http_code}} ' {gateway}/v1/chat/completions \\
    -H "authorization: Bearer $1" -H 'content-type: application/json' \\
    -d "{{\\"model\\": \\"gpt-5.6\\", \\"max_completion_tokens\\": 100,
         \\"messages\\": [{{\\"role\\": \\"user\\", \\"content\\": \\"Question $2\\"}}]}}"; }}
  for n in 1 2 3 4 5 6 7 8 9 10 11 12; do ask "$ben" $n; done; echo
  for n in 1 2 3; do ask "$ann" $n; done; echo

What it came to:

  {askonce} usage --by key
  {askonce} keys list

The keys last as long as this demo. ^C ends it.
"""


_WELCOME_FALLBACK = """\
Two fake OpenAI upstreams, and the gateway, which asks the second where the first fails; no request leaves this machine.

  gateway   {gateway}/v1      metrics   {admin}/metrics
  first     {first}      second    {second}

In another terminal, a question that the cache does not answer, and which upstream does:

  ask() {{ curl -s -o /dev/null -D - {gateway}/v1/chat/completions -H 'cache-control: no-store' \\
    -H 'authorization: Bearer sk-demo' -H 'content-type: application/json' \\
    -d '{{"model": "gpt-4o", "messages": [{{"role": "user", "content": "Hello"}}]}}' \\
    | tr -d '\\r' | grep -iE '^(HTTP|x-askonce-(upstream|attempts))'; }}
  faults={first_origin}/demo/faults
  ask

The first fails for five minutes. The second answers, at the second attempt; and once the breaker of the first is open,
at the only one:

  curl -s $faults -d '{{"status": 503, "seconds": 300}}'; echo
  for n in {{1..14}}; do ask; done
  curl -s {admin}/metrics | grep -E '^askonce_(breaker|upstream_(attempts|failures))'

It is well again, which the breaker finds out with a single request at the end of its cool-down:

  curl -s -X DELETE $faults; echo
  for n in {{1..20}}; do got=$(ask); echo "$got"; grep -q 'upstream: first' <<< "$got" && break; sleep 1; done

Other faults, each in place of the one before; while nobody listens, nobody hears of the next one either:

  curl -s $faults -d '{{"refuse": true, "seconds": 20}}'                # nobody listens
  curl -s $faults -d '{{"fault": "reset-early", "share": 0.5}}'         # about half of the requests: fate unknown
  curl -s $faults -d '{{"fault": "reset", "after": 5}}'                 # after five frames of a stream
  curl -s $faults -d '{{"fault": "stall"}}'
  curl -s $faults -d '{{"status": 429, "retry_after_ms": 5000}}'
  curl -s $faults -d '{{"latency_ms": 3000}}'

All of them: python -m pydoc proxy.demo.knobs. ^C ends it.
"""


def demo(
    port: Annotated[
        int, typer.Option(min=0, max=65_535, envvar=_PORT, help="Of the gateway; 0 picks a free one.")
    ] = 8080,
    admin_port: Annotated[
        int, typer.Option(min=0, max=65_535, envvar=_ADMIN_PORT, help="Of the metrics; 0 picks a free one.")
    ] = 8081,
    latency_ms: Annotated[float, typer.Option(min=0, max=60_000, help="Before every answer of the upstream.")] = 200,
    tokens_per_second: Annotated[float, typer.Option(min=0, max=1e6, help="Of its streams; 0: no limit.")] = 50,
    *,
    keys: Annotated[bool, typer.Option("--keys", help="With virtual keys, limits, budgets and the ledger.")] = False,
    fallback: Annotated[bool, typer.Option("--fallback", help="With a second upstream, for when one fails.")] = False,
) -> None:
    """Serve a built-in fake upstream and the gateway in front of it, with lines to try."""
    from proxy import config, server
    from proxy.demo.background import HOST, running
    from proxy.workers import ListenError

    if keys and fallback:
        print("askonce: --keys and --fallback are two demos; choose one", file=sys.stderr)
        raise typer.Exit(2)
    with ExitStack() as stack:
        names = ("first", "second") if fallback else ("demo",)
        upstreams = {
            name: stack.enter_context(running(latency=latency_ms / 1_000, rate=tokens_per_second)) for name in names
        }
        upstream = upstreams[names[0]]
        _configure(upstreams, HOST, port, admin_port)
        welcome, variables = _WELCOME, ""
        if fallback:
            welcome = _WELCOME_FALLBACK
        if keys:
            welcome = _WELCOME_TEAM
            variables = _let_in_by_key(Path(stack.enter_context(TemporaryDirectory(prefix="askonce-demo-"))))

        def listening(gateway: tuple[str, int], admin: tuple[str, int]) -> None:
            # Not sooner: whoever pastes a line at once finds somebody who listens.
            said = welcome.format(
                gateway=_origin(gateway),
                admin=_origin(admin),
                upstream=upstream,
                variables=f"{variables}{_ADMIN_PORT}={admin[1]}",
                askonce=_command(),
                first_origin=upstream.removesuffix("/v1"),
                **upstreams,
            )
            print(said, flush=True)

        try:
            code = server.run(config.load(None), None, listening=listening)
        except ListenError as error:
            print(f"askonce: {error}; try --port and --admin-port", file=sys.stderr)
            code = 1
    raise typer.Exit(code)


def _origin(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"


def _let_in_by_key(folder: Path) -> str:
    """What another terminal has to export; nothing where somebody has chosen a token, who has it there as well."""
    made = "" if os.environ.get(_VARIABLE) else secrets.token_urlsafe(24)
    os.environ |= {
        "ASKONCE_AUTH__MODE": "keys",
        "ASKONCE_DATA__DIRECTORY": str(folder),
        "ASKONCE_UPSTREAMS__DEMO__KEY": "sk-demo",
        **({_VARIABLE: made} if made else {}),
    }
    return f"{_VARIABLE}={made} " if made else ""


def _command() -> str:
    """How whoever has started this can call the others."""
    return sys.argv[0] if Path(sys.argv[0]).name == "askonce" else f"{sys.executable} -m proxy"


def _configure(upstreams: Mapping[str, str], host: str, port: int, admin_port: int) -> None:
    """As variables, so that a reload finds them too."""
    for name in [name for name in os.environ if name.startswith(_NOT_FOR_THE_DEMO)]:
        del os.environ[name]
    os.environ.pop("OPENAI_BASE_URL", None)
    os.environ |= {
        **{f"ASKONCE_UPSTREAMS__{name.upper()}__BASE_URL": url for name, url in upstreams.items()},
        "ASKONCE_LISTEN__HOST": host,
        _PORT: str(port),
        "ASKONCE_ADMIN__HOST": host,
        _ADMIN_PORT: str(admin_port),
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), host))),
    }
    if len(upstreams) > 1:
        os.environ |= {
            "ASKONCE_ROUTES__DEMO__MODELS": "*",
            "ASKONCE_ROUTES__DEMO__GROUPS": ",".join(upstreams),
            # The client's own key is for the first.
            **{f"ASKONCE_UPSTREAMS__{name.upper()}__KEY": "sk-demo" for name in [*upstreams][1:]},
        }
