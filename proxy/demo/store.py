"""What the demo upstream remembers: bounded, in memory, the oldest forgotten first."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.demo.checks import Refusal
from proxy.demo.model.answers import Json, digest

__all__ = ["Seen", "Shelf", "Store", "page"]

MAX_OBJECTS = 1_000
MAX_CONTENT = 64 << 20
MAX_TAGS = 1_000
MAX_SEEN = 100


class Shelf:
    """Objects of one kind by their id."""

    def __init__(self, prefix: str, noun: str) -> None:
        self._prefix = prefix
        self._noun = noun
        self._objects: OrderedDict[str, Json] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Shelf {self._noun} {len(self._objects)}>"

    def new_id(self, *parts: object) -> str:
        """A name that follows from what it names, and from how many such there are already."""
        for n in range(MAX_OBJECTS + 1):
            id_ = f"{self._prefix}{digest([*parts, n])[:24]}"
            if id_ not in self._objects:
                return id_
        raise AssertionError("the shelf holds fewer objects than it has names")

    def put(self, value: Json) -> Json:
        self._objects[str(value["id"])] = value
        if len(self._objects) > MAX_OBJECTS:
            self._objects.popitem(last=False)
        return value

    def get(self, id_: str) -> Json:
        """Raises Refusal where there is no such object."""
        try:
            return self._objects[id_]
        except KeyError:
            message = f"No such {self._noun} object: {id_[:100]}"
            raise Refusal(404, message, param="id", code=None) from None

    def pop(self, id_: str) -> Json:
        """Raises Refusal where there is no such object."""
        value = self.get(id_)
        del self._objects[id_]
        return value

    def all(self) -> list[Json]:
        """The newest first."""
        return list(reversed(self._objects.values()))


@dataclass(slots=True)
class Seen:
    """What arrived under one tag."""

    count: int = 0
    aborted: int = 0
    requests: list[Json] = field(default_factory=list)


class Store:
    """Everything that one demo upstream remembers."""

    def __init__(self) -> None:
        self.files = Shelf("file-", "File")
        self.uploads = Shelf("upload_", "Upload")
        self.batches = Shelf("batch_", "Batch")
        self.jobs = Shelf("ftjob-", "FineTuningJob")
        self.vector_stores = Shelf("vs_", "VectorStore")
        self.conversations = Shelf("conv_", "Conversation")
        self.responses = Shelf("resp_", "Response")
        self.completions = Shelf("chatcmpl-", "ChatCompletion")
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0
        self._seen: OrderedDict[str, Seen] = OrderedDict()

    def keep(self, id_: str, content: bytes) -> None:
        """Holds a file's content; the oldest contents make room."""
        self.forget(id_)
        if len(content) > MAX_CONTENT:
            return
        self._contents[id_] = content
        self._held += len(content)
        while self._held > MAX_CONTENT:
            self._held -= len(self._contents.popitem(last=False)[1])

    def content(self, id_: str) -> bytes:
        """Raises Refusal where the content is gone."""
        self.files.get(id_)
        if id_ not in self._contents:
            raise Refusal(400, "The demo no longer holds the content of this file.", param="id")
        return self._contents[id_]

    def keep_part(self, upload: str, part: str, content: bytes) -> None:
        """Holds a part of an upload, as a file's content is held."""
        self.keep(f"{upload}/{part}", content)

    def part(self, upload: str, part: str) -> bytes:
        """Raises KeyError."""
        return self._contents[f"{upload}/{part}"]

    def forget(self, id_: str) -> None:
        self._held -= len(self._contents.pop(id_, b""))

    def saw(self, tag: str, request: Json) -> Seen:
        seen = self._seen.setdefault(tag, Seen())
        seen.count += 1
        if len(seen.requests) < MAX_SEEN:
            seen.requests.append(request)
        if len(self._seen) > MAX_TAGS:
            self._seen.popitem(last=False)
        return seen

    def seen(self, tag: str) -> Seen:
        return self._seen.get(tag) or Seen()


def page(objects: list[Json], query: Mapping[str, str]) -> Json:
    """A list answer: `limit` objects after the one named `after`. Raises Refusal."""
    listed = objects[::-1] if query.get("order") == "asc" else objects
    text = query.get("limit", "20")
    limit = int(text) if text.isdigit() and len(text) < 8 else 0
    if limit < 1:
        raise Refusal(
            400, f"Invalid 'limit': {text[:20]!r} is no positive integer.", param="limit", code="invalid_value"
        )
    if after := query.get("after"):
        places = [n for n, value in enumerate(listed) if value["id"] == after]
        listed = listed[places[0] + 1 :] if places else []
    shown = listed[: min(limit, 100)]
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
    return {"object": "list", "data": shown, **ends, "has_more": len(listed) > len(shown)}
