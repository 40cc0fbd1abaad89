"""What tells what others have made, though nobody names it."""

import pytest

from proxy.keys.listing import is_everybodys
from tests.fakes.keyring import virtual_key

LISTS = [
    *("/v1/files", "/v1/batches", "/v1/vector_stores", "/v1/assistants", "/v1/evals", "/v1/containers", "/v1/videos"),
    *("/v1/conversations", "/v1/uploads", "/v1/threads", "/v1/skills", "/v1/anything"),
    *("/v1/chat/completions", "/v1/fine_tuning/jobs", "/v1/chatkit/threads", "/v1/audio/voices"),
    *("/v1/files/", "/v1//files", "/v1/%66iles", "/v1/files%2F", "/v1/FILES", "/v1/files;x", "/v1/chat//completions/"),
]
NONE = [
    *("/v1/models", "/v1/models/", "/v1/models/m", "/v1/responses", "/v1/responses/resp_1", "/v1/"),
    *("/v1/files/file-1", "/v1/files/file-1/content", "/v1/chat/completions/chatcmpl-1", "/v1/batches/batch_1"),
    *("/v1/fine_tuning/jobs/ftjob-1/events", "/v1/vector_stores/vs_1/files", "/v1/threads/thread_1/messages"),
]


@pytest.mark.parametrize("path", LISTS)
def test_a_collection_is_a_list(path: str) -> None:
    """However it is written; to add to it is none."""
    assert is_everybodys("GET", path)
    assert is_everybodys("HEAD", path)
    assert not any(is_everybodys(method, path) for method in ("POST", "DELETE", "OPTIONS"))


@pytest.mark.parametrize("path", NONE)
def test_what_is_named_by_its_id_is_none(path: str) -> None:
    """Who knows it has it from its maker; and models are nobody's."""
    assert not any(is_everybodys(method, path) for method in ("GET", "POST", "DELETE"))


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/organization/users", "/v1/organization", "/v1/%6Frganization/usage/costs"])
def test_an_organisation_is_nobodys_but_the_operators(method: str, path: str) -> None:
    """In whole."""
    assert is_everybodys(method, path)


@pytest.mark.parametrize(
    "path", ["client_secrets", "sessions", "transcription_sessions", "calls", "calls/c/accept", ""]
)
def test_a_secret_for_sessions_is_everybodys(path: str) -> None:
    """With it the upstream is asked beside the gateway; a session here is its client's own."""
    assert is_everybodys("POST", f"/v1/realtime/{path}")
    assert not is_everybodys("GET", "/v1/realtime")


@pytest.mark.parametrize(
    ("endpoints", "endpoint", "may"),
    [
        ((), "files", False),
        (("chat/completions",), "files", False),
        (("files",), "files", True),
        (("files",), "files/*", True),
        (("*",), "other", True),
        (("*",), "realtime/*", True),
        (("realtime",), "realtime/*", False),
        (("realtime", "realtime/*"), "realtime", True),
        (("chat/completions",), "chat/completions", False),
        (("chat",), "chat/completions", True),
        (("chat/*",), "chat/completions", True),
        (("fine_tuning",), "fine_tuning/*", True),
    ],
)
def test_a_key_lists_what_it_is_expressly_for(endpoints: tuple[str, ...], endpoint: str, *, may: bool) -> None:
    """Who may ask for chats may not list those that others have stored."""
    assert virtual_key(endpoints=endpoints).may_list(endpoint) is may
