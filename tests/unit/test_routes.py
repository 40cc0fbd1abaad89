"""Paths and methods: what is known, what is forwarded as it is, what is refused."""

import pytest

from proxy.errors import Failure, Kind
from proxy.routes import HEALTH, find

JSON_ROUTES = [
    "chat/completions", "completions", "embeddings", "responses", "moderations", "images/generations", "audio/speech",
]  # fmt: skip
FORM_ROUTES = ["images/edits", "images/variations", "audio/transcriptions", "audio/translations"]


@pytest.mark.parametrize("name", JSON_ROUTES)
def test_json_routes(name: str) -> None:
    """A POST that carries JSON is read, and its answer may be kept."""
    route = find("POST", f"/v1/{name}")
    assert (route.name, route.json_body, route.form_body, route.cacheable) == (name, True, False, True)


@pytest.mark.parametrize("name", FORM_ROUTES)
def test_form_routes(name: str) -> None:
    """A form streams through, but for the model in its beginning."""
    route = find("POST", f"/v1/{name}")
    assert (route.name, route.json_body, route.form_body) == (name, False, True)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "models", "models"),
        ("GET", "models/gpt-4o", "models/*"),
        ("DELETE", "models/ft:gpt", "models/*"),
        ("POST", "files", "files"),
        ("GET", "files/f/content", "files/*"),
        ("POST", "batches", "batches"),
        ("POST", "batches/b/cancel", "batches/*"),
        ("POST", "vector_stores", "vector_stores/*"),
        ("POST", "fine_tuning/jobs", "fine_tuning/*"),
        ("GET", "responses/r", "responses/*"),
        ("DELETE", "chat/completions/c", "chat/*"),
        ("GET", "realtime", "realtime"),
        ("PROPFIND", "never/heard/of", "other"),
        ("POST", "", "other"),
    ],
)
def test_everything_under_v1_is_forwarded(method: str, path: str, name: str) -> None:
    """Known or not, by any method; the label is from a closed set and holds nothing of the path. Models are kept."""
    route = find(method, f"/v1/{path}")
    assert (route.name, route.json_body, route.cacheable) == (name, False, path.startswith("models"))


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "embeddings", "POST, OPTIONS"),
        ("DELETE", "chat/completions", "GET, POST, HEAD, OPTIONS"),
        ("POST", "models", "GET, HEAD, OPTIONS"),
        ("PUT", "files", "GET, POST, HEAD, OPTIONS"),
        ("HEAD", "embeddings", "POST, OPTIONS"),
    ],
)
def test_a_known_path_by_another_method(method: str, path: str, allow: str) -> None:
    """405, with those that it takes."""
    with pytest.raises(Failure) as refused:
        find(method, f"/v1/{path}")
    assert (refused.value.kind, refused.value.allow) == (Kind.METHOD_NOT_ALLOWED, allow)
    assert (b"allow", allow.encode()) in refused.value.headers(safe_method=False)


@pytest.mark.parametrize("path", [*JSON_ROUTES, *FORM_ROUTES, "models", "files", "never/heard/of"])
def test_options_are_forwarded(path: str) -> None:
    """OPTIONS is the upstream's to answer."""
    find("OPTIONS", f"/v1/{path}")


def test_health() -> None:
    """/healthz is the gateway's own."""
    assert find("GET", "/healthz") is HEALTH
    assert find("HEAD", "/healthz") is HEALTH
    with pytest.raises(Failure) as refused:
        find("POST", "/healthz")
    assert refused.value.kind is Kind.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v2/models", "/V1/models", "v1/models", "//v1/models", "*", "/healthz/"]
)
def test_nothing_else(path: str) -> None:
    """Outside /v1/ there is nothing."""
    with pytest.raises(Failure) as refused:
        find("GET", path)
    assert refused.value.kind is Kind.UNKNOWN_ROUTE


@pytest.mark.parametrize(
    "rest",
    ["..", "../x", "a/../b", "a/..", "./a", "a/.", "%2e%2e/x", ".%2E/x", "a%2f..%2fb", "a/..\\b", "%2e%2e%5cb", "%2E"],
)
def test_dot_segments_are_refused(rest: str) -> None:
    """However they are written."""
    with pytest.raises(Failure) as refused:
        find("GET", f"/v1/{rest}")
    assert refused.value.kind is Kind.INVALID_REQUEST


@pytest.mark.parametrize("rest", ["a..b", "files/x.jsonl", "...", "a/.b", "a%20b", "models/org%2Fmodel-1.5", "%zz"])
def test_dots_in_names_are_no_segments(rest: str) -> None:
    """A dot in a name is a dot in a name."""
    find("GET", f"/v1/{rest}")
