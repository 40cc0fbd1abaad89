"""Facts of a request: total, and never kinder than they may be."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.facts import facts, strip_alias
from proxy.openai.requests import InvalidJson, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "ttl", "no-cache", "include_usage", "environment", "tools", "version", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
NAMES = ["conversation", "background", "prompt", "tools", "stream_options", "cache", "model", "plugins", "x"]
BODIES = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5)
ENDPOINTS = st.sampled_from(["chat/completions", "completions", "responses", "embeddings", "moderations"])


@given(ENDPOINTS, BODIES)
@example("responses", {"tools": [{"type": "\ud800"}]})
def test_any_body_has_facts(endpoint: str, value: dict[str, object]) -> None:
    """State and tools are seen wherever they are, whatever else is wrong."""
    found = facts(endpoint, json.dumps(value).encode())
    assert found.stateful or value.get("conversation") is None
    assert found.stateful or value.get("background") in (None, False)
    assert found.hosted_tools or value.get("plugins") is None
    tools = value.get("tools")
    assert found.hosted_tools or tools is None or isinstance(tools, list)


@given(ENDPOINTS, st.binary(max_size=60) | st.text('{}[]":,\\u0123dtols.-eE', max_size=60).map(str.encode))
def test_any_bytes_have_facts(endpoint: str, body: bytes) -> None:
    """Nothing is raised, and what is no request is doubted."""
    found = facts(endpoint, body)
    try:
        read_json(body)
    except InvalidJson:
        assert found.stateful


@given(BODIES, st.sampled_from([None, 2]))
def test_stripping_leaves_the_rest(value: dict[str, object], indent: int | None) -> None:
    """Every other member as it was."""
    stripped = strip_alias(json.dumps(value, indent=indent).encode())
    assert json.loads(stripped) == {name: member for name, member in value.items() if name != "cache"}
