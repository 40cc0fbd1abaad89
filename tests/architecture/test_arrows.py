"""Who may import whom. Each rule is shown to fail on a tree that breaks it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.architecture.house import House, Rule

ROOT = Path(__file__).resolve().parents[2]


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


IO = names(
    "asyncio aiohttp uvloop socket ssl selectors threading subprocess multiprocessing"
    " urllib.request http.client requests httpx"
)
SANS_IO = names(
    "proxy.exchange proxy.talk proxy.errors proxy.openai"
    " proxy.http1.messages proxy.http1.readers proxy.http1.frames proxy.http1.screen proxy.http1.peers"
    " proxy.caching.pieces proxy.semantic.modes proxy.semantic.passing"
    " proxy.semantic.refusing proxy.semantic.parties proxy.semantic.hidden"
    " proxy.redis_link.breaker proxy.redis_link.url proxy.redis_link.troubles"
    " proxy.redis_link.errors proxy.redis_link.events"
    " cache.fingerprint cache.directives cache.policy cache.freshness"
    " cache.status cache.entry cache.select cache.encoding"
    " cache.semantic.partition cache.semantic.english cache.semantic.finding cache.semantic.guard"
    " cache.semantic.language cache.semantic.foreign cache.semantic.decide cache.semantic.store.record"
    " cache.semantic.store.origin"
    " cache.semantic.learning.bounds cache.semantic.learning.evidence cache.semantic.learning.calibrate"
    " cache.semantic.learning.labels cache.semantic.learning.scores cache.semantic.learning.audits"
    " limits.policy limits.bucket limits.budget limits.headers limits.grant"
    " proxy.limiting.terms proxy.limiting.bill proxy.limiting.fields"
    " proxy.keys.key proxy.keys.listing proxy.keys.table proxy.keys.amounts"
    " proxy.ledger.row proxy.ledger.fold proxy.ledger.query proxy.telemetry.prices"
    " proxy.upstream.breaker proxy.upstream.machine proxy.upstream.window proxy.upstream.retry"
    " proxy.upstream.key_pool proxy.upstream.balance proxy.upstream.router proxy.upstream.deadlines"
    " proxy.admission.gradient proxy.admission.pace proxy.admission.queue"
)
PARSERS = names("proxy.http1.messages proxy.http1.readers")
STAGES = names(
    "proxy.pipeline proxy.routes proxy.auth proxy.understand proxy.heartbeat proxy.tee proxy.accounting proxy.upstream"
    " proxy.caching proxy.semantic proxy.billing proxy.limiting"
)
SOCKETS = names("socket ssl selectors uvloop httptools")
KNOW_SOCKETS = names("proxy.http1 proxy.server proxy.app proxy.workers")
READS_CERTIFICATES = names("proxy.config.checks")
OURS = names("proxy")
PROTOCOLS = names(
    "Protocol BufferedProtocol BaseProtocol DatagramProtocol Transport BaseTransport ReadTransport WriteTransport"
    " StreamReader StreamWriter open_connection start_server"
)

RULES: Mapping[str, Rule] = {
    "proxy.openai imports nothing of ours": Rule(names("proxy.openai"), OURS, but=names("proxy.openai")),
    "sans-IO modules import no I/O": Rule(SANS_IO, IO),
    "sans-IO modules stand on sans-IO modules": Rule(
        SANS_IO, OURS | names("cache limits"), but=SANS_IO, typing_too=False
    ),
    "the cache imports nothing of the proxy": Rule(names("cache"), names("proxy limits bench tests")),
    "the limits import nothing of the proxy and the cache": Rule(names("limits"), names("proxy cache bench tests")),
    "llhttp is known to the readers alone": Rule(OURS, names("httptools"), except_=PARSERS),
    "sockets are known to the transport and its host alone": Rule(
        OURS, SOCKETS, except_=KNOW_SOCKETS | READS_CERTIFICATES
    ),
    "the stages know no transport and no host": Rule(
        STAGES,
        names("proxy.http1 proxy.app proxy.server proxy.workers proxy.cli proxy.admin proxy.demo aiohttp"),
    ),
    "the transport knows only the seams": Rule(
        names("proxy.http1"), OURS, but=names("proxy.http1 proxy.exchange proxy.talk proxy.errors")
    ),
    "only the host, the command and the demo know the composition root": Rule(
        OURS, names("proxy.app"), except_=names("proxy.server proxy.cli proxy.demo")
    ),
    "nothing but the command starts the server": Rule(
        OURS, names("proxy.server proxy.cli"), except_=names("proxy.cli proxy.__main__")
    ),
    "the demo is known to the command alone": Rule(OURS, names("proxy.demo"), except_=names("proxy.demo proxy.cli")),
    "telemetry and configuration know nobody who uses them": Rule(
        names("proxy.telemetry proxy.config"),
        OURS,
        but=names("proxy.telemetry proxy.config proxy.exchange proxy.errors"),
    ),
    "the keys know nobody who asks for them": Rule(
        names("proxy.keys"),
        OURS,
        but=names("proxy.keys proxy.config proxy.private_file proxy.telemetry proxy.redis_link"),
    ),
    "the ledger knows nobody who writes or reads it": Rule(
        names("proxy.ledger"),
        OURS,
        but=names(
            "proxy.ledger proxy.keys.audit proxy.openai.tokens proxy.private_file proxy.telemetry proxy.redis_link"
        ),
    ),
    "limits know no cache and no ledger": Rule(
        names("proxy.limiting"), names("cache proxy.caching proxy.ledger proxy.billing")
    ),
    "admission knows nobody whom it lets in": Rule(
        names("proxy.admission"), OURS, but=names("proxy.admission proxy.errors proxy.exchange")
    ),
    "the product imports neither its tests nor its bench": Rule(OURS, names("tests bench")),
}

BROKEN: Mapping[str, Mapping[str, str]] = {
    "proxy.openai imports nothing of ours": {"proxy/openai/sse.py": "from proxy.errors import Failure"},
    "sans-IO modules import no I/O": {"proxy/errors.py": "def f():\n    import asyncio"},
    "sans-IO modules stand on sans-IO modules": {"proxy/http1/frames.py": "from proxy.http1 import flow"},
    "the cache imports nothing of the proxy": {"cache/memory.py": "from proxy.errors import Failure"},
    "the limits import nothing of the proxy and the cache": {"limits/redis.py": "from cache.link import Link"},
    "llhttp is known to the readers alone": {"proxy/http1/upstream.py": "import httptools.parser"},
    "sockets are known to the transport and its host alone": {"proxy/tee.py": "from socket import socket"},
    "the stages know no transport and no host": {"proxy/upstream/call.py": "from proxy.http1.upstream import Pool"},
    "the transport knows only the seams": {"proxy/http1/answer.py": "from ..tee import Tee"},
    "only the host, the command and the demo know the composition root": {"proxy/workers.py": "from . import app"},
    "nothing but the command starts the server": {"proxy/app.py": "import proxy.server"},
    "the demo is known to the command alone": {"proxy/routes.py": "import proxy.demo.app"},
    "telemetry and configuration know nobody who uses them": {"proxy/telemetry/log.py": "from proxy.tee import Tee"},
    "the keys know nobody who asks for them": {"proxy/keys/table.py": "from proxy.auth import Identity"},
    "the ledger knows nobody who writes or reads it": {"proxy/ledger/writer.py": "from proxy.http1 import flow"},
    "limits know no cache and no ledger": {"proxy/limiting/stage.py": "from proxy.ledger.row import Row"},
    "admission knows nobody whom it lets in": {"proxy/admission/gate.py": "from proxy.upstream.leg import Leg"},
    "the product imports neither its tests nor its bench": {"proxy/app.py": "from tests.fakes import clock"},
}

FURNITURE = names(
    "__init__ app auth errors exchange routes server tee workers openai/__init__ openai/sse http1/__init__ http1/answer"
    " http1/flow http1/frames http1/upstream upstream/__init__ upstream/call telemetry/__init__ telemetry/log"
    " demo/__init__ demo/app"
)


@pytest.fixture
def build(tmp_path: Path) -> Callable[[Mapping[str, str]], House]:
    """A house of empty modules, with some of them written."""

    def build_house(sources: Mapping[str, str]) -> House:
        for path, text in {**{f"proxy/{name}.py": "" for name in FURNITURE}, **sources}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return House(tmp_path, "proxy", "cache", "limits")

    return build_house


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT, "proxy", "cache", "limits")


@pytest.mark.parametrize("rule", RULES)
def test_the_arrows_of_the_house(house: House, rule: str) -> None:
    """No module imports what its room may not know."""
    assert RULES[rule].breaches(house) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_arrow_is_found(build: Callable[[Mapping[str, str]], House], rule: str) -> None:
    """Each rule fails on a tree that breaks it, and on nothing else there."""
    broken = build(BROKEN[rule])
    assert len(RULES[rule].breaches(broken)) == 1
    assert RULES[rule].breaches(build(dict.fromkeys(BROKEN[rule], ""))) == []


@pytest.mark.parametrize("name", sorted(SANS_IO | STAGES | KNOW_SOCKETS | PARSERS))
def test_rules_speak_of_modules_that_exist(house: House, name: str) -> None:
    """A module that was renamed does not slip out of its rules."""
    assert name in house.files


def protocol_users(house: House) -> list[str]:
    uses = house.uses_of("asyncio", PROTOCOLS)
    return [f"{module}: asyncio.{name}" for module, name in uses if not module.startswith(tuple(KNOW_SOCKETS))]


def test_protocols_and_transports_belong_to_the_transport(house: House) -> None:
    """asyncio's protocols, transports and streams appear in the transport and its host alone."""
    assert protocol_users(house) == []


@pytest.mark.parametrize("source", ["import asyncio\nx: asyncio.Transport", "from asyncio import StreamReader"])
def test_a_stray_protocol_is_found(build: Callable[[Mapping[str, str]], House], source: str) -> None:
    """Written either way."""
    assert len(protocol_users(build({"proxy/tee.py": source, "proxy/http1/flow.py": source}))) == 1


def test_no_module_imports_itself_through_others() -> None:
    """There is no cycle at run time, in the product, the rig and the bench."""
    assert House(ROOT, "proxy", "cache", "limits", "tests/fakes", "bench").cycles() == []


@pytest.mark.parametrize(
    ("sources", "cycles"),
    [
        ({"app": "import proxy.tee", "tee": "def f():\n    from proxy import app"}, 1),
        ({"app": "import proxy.openai.sse", "openai/__init__": "from proxy.app import x"}, 1),
        ({"app": "from .tee import x", "tee": "from .auth import x", "auth": "from .app import x"}, 1),
        ({"openai/__init__": "from proxy.openai.sse import x", "openai/sse": "import proxy.openai"}, 0),
        ({"app": "import proxy.tee", "tee": "if TYPE_CHECKING:\n    from proxy.app import x"}, 0),
    ],
    ids=["late", "through a package", "of three", "own package", "types only"],
)
def test_a_cycle_is_found(build: Callable[[Mapping[str, str]], House], sources: Mapping[str, str], cycles: int) -> None:
    """Late imports count and imports for types do not; a module may name the package that it is in."""
    assert len(build({f"proxy/{name}.py": text for name, text in sources.items()}).cycles()) == cycles
