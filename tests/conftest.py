"""Fixtures of the rig. Every asynchronous test runs on uvloop and is checked for what it leaves behind."""

import asyncio
import functools
import gc
import inspect
import os
import ssl
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trustme
import uvloop
from hypothesis import is_hypothesis_test

from tests.fakes.gateway import Gateway, GatewayProcess, StartGateway, StartProcess, in_process, spawn
from tests.fakes.polling import until
from tests.fakes.raw import RawClient
from tests.fakes.redis_server import RedisServer
from tests.fakes.team import STORES, StartTeam, StartWorkers, Team, keyed
from tests.fakes.upstream import ScriptedUpstream

BYTECODE = Path(__file__).resolve().parents[1] / ".cache" / "bytecode"
MEASURED = (
    *("test_o1_two_hundred_streams_finish", "test_o2_a_second_signal"),
    *("test_counters_of_a_killed_worker_are_kept", "test_o6_a_restarted_worker_is_as_its_siblings"),
    *("test_demo_ends_cleanly", "test_printed_lines_of_a_fallback_work"),
    "test_the_demo_of_a_team_takes_the_token_that_is_there",
    *("test_workers_supervisor.py", "sdk"),
)
"""Tests, files and folders whose processes are counted as covering lines: to count doubles what a process costs to
start, and those of all other tests run the same lines.
"""
TOLD = pytest.StashKey[str]()
COVERAGE = "COVERAGE_PROCESS_CONFIG"
"""What says to a process that it is to count."""
TRACED = 1
"""Of one test's parameters, how many count as covering lines: the others run the same ones."""
SETTLING = 2.0
"""Seconds after a test in which its tasks and descriptors may still end."""


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001  (pytest calls by name)
    item: pytest.Item,  # noqa: ARG001
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_configure(config: pytest.Config) -> None:
    """None of the machine's keys, base URLs and proxies reaches a test."""
    config.stash[TOLD] = os.environ.get(COVERAGE, "")
    for name in [*os.environ]:
        if name.startswith(("OPENAI_", "ASKONCE_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    if sys.dont_write_bytecode:
        # Or each of some hundred processes compiles every module anew.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(BYTECODE)


def pytest_runtest_setup(item: pytest.Item) -> None:
    told = item.config.stash.get(TOLD, "")
    names = {item.path.name, item.path.parent.name, item.nodeid.partition("::")[2].partition("[")[0]}
    if told and not names.isdisjoint(MEASURED):
        os.environ[COVERAGE] = told
    else:
        os.environ.pop(COVERAGE, None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What this makes stays, so that no garbage collection need look at it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    met: Counter[str] = Counter()
    for item in items:
        if isinstance(item, pytest.Function):
            test = item.nodeid.partition("[")[0]
            met[test] += 1
            if met[test] > TRACED or is_hypothesis_test(item.function):
                item.fixturenames.insert(0, "untraced")
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            wider = [name for name in item.fixturenames if _is_shared(item, name)]
            item.fixturenames.insert(max(map(item.fixturenames.index, wider), default=-1) + 1, "leaves_nothing")


def _is_shared(item: pytest.Function, name: str) -> bool:
    """The fixture outlives its test, so what it opens is no leak: it is set up before the counting starts."""
    definitions = item._fixtureinfo.name2fixturedefs.get(name, ())
    return any(definition.scope != "function" for definition in definitions[-1:])


@pytest.fixture
def untraced() -> Iterator[None]:
    """For tests that run the same lines very often: to count them takes as long again, and others do that."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture
async def leaves_nothing() -> AsyncIterator[None]:
    """No task, no descriptor and no unnoticed exception outlives its test."""
    loop = asyncio.get_running_loop()
    unnoticed: list[str] = []
    loop.set_exception_handler(lambda _loop, context: unnoticed.append(repr(context)))
    tasks, descriptors = asyncio.all_tasks(), _descriptors()
    yield
    own = asyncio.current_task()

    def left() -> list[object]:
        return [*(asyncio.all_tasks() - tasks - {own}), *(_descriptors() - descriptors)]

    try:
        await until(lambda: not left(), SETTLING)
    except AssertionError:
        # What is open at its end uvloop closes with a warning, and if that is an error it waits for it for ever.
        warnings.simplefilter("ignore", ResourceWarning)
        raise AssertionError(f"the test left behind {left()}") from None
    assert not unnoticed


def _descriptors() -> set[str]:
    """Open sockets, files and pipes; not the event loop's own UNIX sockets, which come and go with its runs."""
    own = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            what = str(descriptor.readlink())
            if what.removeprefix("socket:[").rstrip("]") not in own and not what.startswith(("anon_inode:", "/dev/")):
                found.add(f"{descriptor.name} {what}")
    return found


@pytest.fixture(scope="session")
def model_loaded_once() -> Iterator[None]:
    """Gateways of this process share the model that comes with us: to load it takes half a second of all cores."""
    from cache.semantic.embedders.onnx_model import ModelFiles, OnnxModel
    from cache.semantic.embedders.threads import text_threads
    from cache.semantic.minilm import minilm

    ours = functools.cache(lambda: OnnxModel.load(minilm()))

    def load(files: ModelFiles) -> OnnxModel:
        return ours() if files == minilm() else OnnxModel.load(files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.local_models.text_threads", functools.partial(text_threads, load=load))
        yield


@pytest.fixture
def upstream_port() -> int:
    """Any, unless a gateway is there already."""
    return 0


@pytest.fixture
async def upstream(upstream_port: int) -> AsyncIterator[ScriptedUpstream]:
    """Answers 200 until scripted otherwise; malformed requests fail the test."""
    async with ScriptedUpstream(port=upstream_port) as scripted:
        yield scripted
        assert scripted.defects == []


@pytest.fixture
async def start(
    upstream: ScriptedUpstream,
    tmp_path: Path,
    model_loaded_once: None,  # noqa: ARG001
) -> AsyncIterator[StartGateway]:
    """Starts gateways in this process, by default in front of `upstream`, with the settings given."""
    async with AsyncExitStack() as stack:

        async def start_gateway(url: str = "", **settings: object) -> Gateway:
            settings.setdefault("data__directory", tmp_path / "data")
            return await stack.enter_async_context(in_process(url or upstream.url, **settings))  # type: ignore[arg-type]

        yield start_gateway


@pytest.fixture
async def gateway(start: StartGateway) -> Gateway:
    """In front of `upstream`, as configured by default."""
    return await start()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[RawClient]:
    """A connection to `gateway`."""
    async with gateway.client() as raw:
        yield raw


@pytest.fixture
async def start_process(upstream: ScriptedUpstream) -> AsyncIterator[StartProcess]:
    """Starts gateways as processes, by default in front of `upstream`."""
    async with AsyncExitStack() as stack:

        async def start_gateway(url: str = "", *arguments: str, **options: object) -> GatewayProcess:
            return await stack.enter_async_context(spawn(url or upstream.url, *arguments, **options))  # type: ignore[arg-type]

        yield start_gateway


@pytest.fixture(scope="session")
def redis_of_this_run() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(redis_of_this_run: RedisServer) -> RedisServer:
    """Runs, and is as if freshly started."""
    redis_of_this_run.pristine()
    return redis_of_this_run


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """Where a team's keys, counts and ledger are: in the gateway's process and data directory, or in Redis."""
    return str(request.param)


@pytest.fixture
def start_team(
    start: StartGateway, upstream: ScriptedUpstream, store: str, redis_server: RedisServer, tmp_path: Path
) -> StartTeam:
    """Starts gateways in keys mode in this process, in front of `upstream` and with the settings given."""

    async def start_gateway(url: str = "", **settings: object) -> Team[Gateway]:
        settings = keyed(tmp_path, redis_server.url if store == "redis" else "", settings)
        return Team(await start(url, **settings), url or upstream.url, settings)

    return start_gateway


@pytest.fixture
def start_team_workers(start_process: StartProcess, redis_server: RedisServer) -> StartWorkers:
    """Starts two worker processes in keys mode, which share a Redis."""

    async def start_workers(url: str = "", **settings: object) -> Team[GatewayProcess]:
        settings = keyed(None, redis_server.url, settings)
        gateway = await start_process(url, "serve", "--workers", "2", **settings)
        await until(lambda: len(gateway.logs(event="listening")) == 2, 10.0, "both listen")
        return Team(gateway, url, settings)

    return start_workers


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Signs the certificates of this run."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """For servers on localhost, 127.0.0.1 and ::1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
    return context


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Workers must agree on the names of tests: bytes that a clock may have shaped are no name."""
    return argname if isinstance(val, bytes) and not (val.isascii() and len(val) < 60) else None
