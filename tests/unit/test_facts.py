"""What a cache must know of a request's JSON."""

import json
from typing import get_args, get_type_hints

import pytest
from openai.types import AllModels
from openai.types.responses import tool_param

from proxy.openai.facts import LOOK_UPS, SWITCHES, Alias, facts, strip_alias

PLAIN = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "hi"}]}


def body(**members: object) -> bytes:
    return json.dumps(PLAIN | members).encode()


def stateful(endpoint: str = "responses", **members: object) -> bool:
    return facts(endpoint, body(**members)).stateful


def hosted(**members: object) -> bool:
    return facts("responses", body(**members)).hosted_tools


def test_a_plain_request() -> None:
    """Nothing stands against the cache, with or without members that could."""
    found = facts("chat/completions", body())
    assert found == (False, False, False, None, 1)
    nulls = dict.fromkeys(["conversation", "background", "prompt", "tools", "web_search_options", "cache"])
    assert facts("responses", body(**nulls, stream_options=None)) == found
    assert facts("responses", body(background=False, tools=[], previous_response_id="resp_1")) == found


@pytest.mark.parametrize("value", ["conv_1", {"id": "conv_1"}, 5, [], False])
def test_conversations_are_state(value: object) -> None:
    """Of whatever type, on any endpoint."""
    assert stateful(conversation=value)
    assert stateful("chat/completions", conversation=value)


@pytest.mark.parametrize("value", [True, 1, "true", {}, 0])
def test_background_is_state(value: object) -> None:
    """Anything but false."""
    assert stateful(background=value)


@pytest.mark.parametrize(
    ("prompt", "is_state"),
    [({"id": "p", "version": "2"}, False), ({"id": "p"}, True), ({"id": "p", "version": None}, True), ("p", True)],
)
def test_a_prompt_without_a_version_is_state(prompt: object, is_state: bool) -> None:  # noqa: FBT001  (a case)
    """Whichever is published now answers; completions have a member of this name that is text."""
    assert stateful(prompt=prompt) is is_state
    assert not stateful("completions", prompt="Once upon a time")


def test_warming_the_upstream_is_state() -> None:
    """It is asked for its effect."""
    assert stateful(prompt_cache_options={"prewarm": True})
    assert stateful(prompt_cache_options="odd")
    assert not stateful(prompt_cache_options={"prewarm": False, "ttl": "30m"})
    assert not stateful(prompt_cache_options={"ttl": "30m"})


CLIENT_RUN: list[dict[str, object]] = [
    {"type": "function", "function": {"name": "f"}},
    {"type": "custom", "name": "c"},
    {"type": "apply_patch"},
    {"type": "local_shell"},
    {"type": "shell", "environment": {"type": "local"}},
    {"type": "tool_search", "execution": "client"},
    {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "f"}, {"type": "custom"}]},
]


@pytest.mark.parametrize("tool", CLIENT_RUN, ids=str)
def test_tools_that_the_client_runs(tool: object) -> None:
    """They are part of the question."""
    assert not hosted(tools=[tool])
    assert not hosted(tools=CLIENT_RUN)
    assert hosted(tools=[*CLIENT_RUN, {"type": "mcp"}])


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "tool_search"},
        {"type": "tool_search", "execution": "server"},
        {"type": "namespace", "tools": [{"type": "web_search"}]},
        {"type": "namespace", "tools": [{"type": "namespace", "tools": []}]},
        {"type": "namespace"},
        {"type": "browser_search"},
        {"type": ["function"]},
        {"type": "FUNCTION"},
        {"function": {"name": "f"}},
        "function",
        None,
    ],
    ids=str,
)
def test_tools_that_the_upstream_may_run(tool: object) -> None:
    """Known, unknown, or no tools at all."""
    assert hosted(tools=[tool])
    assert hosted(tools=tool) is (tool is not None)


def test_every_tool_of_the_sdk_is_placed() -> None:
    """Each type that OpenAI's SDK knows: those that the client runs, and all others."""
    kinds = get_args(tool_param.ToolParam)
    types = {name for kind in kinds for name in get_args(get_type_hints(kind)["type"])}
    assert len(types) > 15
    for name in types - {str(tool["type"]) for tool in CLIENT_RUN}:
        assert hosted(tools=[{"type": name}]), name


@pytest.mark.parametrize("name", [*LOOK_UPS, "prompt"])
def test_members_that_make_the_upstream_look_up(name: str) -> None:
    """Of many vendors, even empty; and templates, which have tools of their own."""
    assert hosted(**{name: {}})
    assert not hosted(**{name: None})


@pytest.mark.parametrize("name", SWITCHES)
def test_switches_that_make_the_upstream_look_up(name: str) -> None:
    """Whatever is not false."""
    for value in (True, "on", 1, {"enable": True}):
        assert hosted(**{name: value})
    assert not hosted(**{name: False})
    assert not hosted(**{name: None})


def test_what_is_put_into_the_body_by_mistake() -> None:
    """An SDK's `extra_body` in the body itself, as Gemini's compatible endpoint reads it."""
    assert hosted(extra_body={"google": {"tools": [{"google_search": {}}]}})
    assert hosted(extra_body={"google": {"tools": [{"googleSearch": {}}]}})
    assert hosted(tools=[{"google_search": {}}])
    assert not hosted(extra_body={"google": {"thinking_config": {"include_thoughts": True}}})


@pytest.mark.parametrize(
    ("endpoint", "members", "choices"),
    [
        ("chat/completions", {}, 1),
        ("chat/completions", {"n": None}, 1),
        ("chat/completions", {"n": 3}, 3),
        ("chat/completions", {"n": 2.0}, 2),
        ("chat/completions", {"n": 0}, 1),
        ("chat/completions", {"n": "3"}, 1),
        ("chat/completions", {"n": 1e308}, 1 << 31),
        ("chat/completions", {"n": 2, "prompt": ["a", "b"]}, 2),
        ("images/generations", {"n": 4}, 4),
        ("completions", {"prompt": "a"}, 1),
        ("completions", {"prompt": ["a", "b"], "n": 2}, 4),
        ("completions", {"prompt": [1, 2, 3], "n": 2}, 2),
        ("completions", {"prompt": [[1], [2, 3]]}, 2),
        ("completions", {"prompt": []}, 1),
    ],
)
def test_how_many_answers_are_asked_for(endpoint: str, members: dict[str, object], choices: int) -> None:
    """`n`, for each prompt where several may be."""
    assert facts(endpoint, body(**members)).choices == choices


def test_models_that_look_things_up() -> None:
    """By name: those that the SDK knows, and other vendors'."""
    names = [name for kind in get_args(AllModels) for part in (kind, *get_args(kind)) for name in get_args(part)]
    models = {name for name in names if isinstance(name, str)}
    searching = {name for name in models if "search" in name}
    assert len(searching) >= 9
    assert {name for name in models if hosted(model=name)} == searching
    for name in (
        "sonar-pro",
        "Perplexity/Sonar",
        "groq/compound-mini",
        "openai/gpt-4o:online",
        "gpt-5-search-api",
        "Sonar",
        "llama-3.1-sonar-small-128k-online",
        "openrouter/perplexity/sonar-reasoning-pro",
        "pplx-70b-online",
        "perplexity.sonar",
        "openai/gpt-4o:online:nitro",
        "jina-deepsearch-v1",
        "deep-research-pro-preview-12-2025",
    ):
        assert hosted(model=name), name
    assert not hosted(model="x" * 100_000)
    assert not hosted(model=5)
    assert not hosted(model="a/unresearched-compounds")
    assert not hosted(model="sonarqube-onlineish")


@pytest.mark.parametrize(
    ("options", "wants"),
    [({"include_usage": True}, True), ({"include_usage": 1}, False), ({}, False), ("x", False), ([], False)],
)
def test_usage_is_wanted_by_exactly_true(options: object, wants: bool) -> None:  # noqa: FBT001  (a case)
    """As the upstream has it, however the member's name is spelt."""
    asked = body(stream_options=options)
    assert facts("chat/completions", asked).wants_usage is wants
    assert facts("chat/completions", asked.replace(b"stream_options", rb"stream\u005foptions")).wants_usage is wants


@pytest.mark.parametrize(
    ("cache", "alias"),
    [
        ({}, Alias()),
        ({"ttl": 300}, Alias(ttl=300)),
        ({"ttl": 0.5, "s-maxage": 60}, Alias(ttl=0.5, max_age=60)),
        ({"s-max-age": 60}, Alias(max_age=60)),
        ({"no-cache": True}, Alias(no_cache=True)),
        ({"no-store": True, "no-cache": False}, Alias(no_store=True)),
        ({"no-store": None, "ttl": None, "namespace": "n", "use-cache": True}, Alias()),
        ({"no-cache": "no", "no-store": 0}, Alias(no_cache=True, no_store=True)),
        ({"ttl": "300"}, Alias(no_store=True)),
        ({"ttl": -1}, Alias(no_store=True)),
        ({"s-maxage": [1]}, Alias(no_cache=True)),
        ({"ttl": 10**30}, Alias(ttl=1 << 31)),
        ({"namespace": "n" * 2_000, "ttl": 5}, Alias(no_cache=True, no_store=True)),
        ({"type": "exact_match", "ttl": 5}, None),
        (True, None),
        ("ttl", None),
        ([], None),
    ],
    ids=str,
)
def test_the_alias(cache: object, alias: Alias | None) -> None:
    """LiteLLM's member, if all of it is; what is odd in it tightens."""
    assert facts("chat/completions", body(cache=cache)).alias == alias


def test_stripping_the_alias() -> None:
    """The member goes and nothing else changes, but for one that is named twice."""
    assert strip_alias(b'{"model": "m",  "cache": {"ttl":5} , "n":1.0}') == b'{"model": "m" , "n":1.0}'
    assert strip_alias(b'{"cache":{},"cache":{"ttl":5},"n":1.0}') == b'{"n":1.0}'
    assert strip_alias(body()) == body()


@pytest.mark.parametrize(
    "odd", [b"", b"[]", b"{", b'{"model":"\xff"}', b'{"tools":"\xff"}', b'{"a":%b}' % (b"[" * 50_000)]
)
def test_what_cannot_be_read_is_doubted(odd: bytes) -> None:
    """It counts against the cache, and raises nothing."""
    assert facts("chat/completions", odd).hosted_tools
