"""What the demo upstream remembers: bounded, in memory, the oldest forgotten first."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.demo.checks import Refusal
from proxy.demo.model.answers import Json, digest

__all__ = ["Seen", "Shelf", "Store", "Tenants", "page"]

MAX_OBJECTS = 1_000
MAX_CONTENT = 64 << 20
MAX_TENANTS = 256
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


class Contents:
    """Bytes by name; the oldest make room."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._size = 0

    def __repr__(self) -> str:
        return f"<Contents {len(self._held)} of {self._size} bytes>"

    def __contains__(self, name: tuple[str, ...]) -> bool:
        return name in self._held

    def __getitem__(self, name: tuple[str, ...]) -> bytes:
        return self._held[name]

    def keep(self, name: tuple[str, ...], content: bytes) -> None:
        self.forget(name)
        if len(content) > MAX_CONTENT:
            return
        self._held[name] = content
        self._size += len(content)
        while self._size > MAX_CONTENT:
            self._size -= len(self._held.popitem(last=False)[1])

    def forget(self, name: tuple[str, ...]) -> None:
        self._size -= len(self._held.pop(name, b""))


class Store:
    """Everything that is remembered for one API key."""

    def __init__(self, tenant: str, contents: Contents) -> None:
        self._tenant = tenant
        self._contents = contents
        self.files = Shelf("file-", "File")
        self.uploads = Shelf("upload_", "Upload")
        self.batches = Shelf("batch_", "Batch")
        self.jobs = Shelf("ftjob-", "FineTuningJob")
        self.vector_stores = Shelf("vs_", "VectorStore")
        self.responses = Shelf("resp_", "Response")
        self.completions = Shelf("chatcmpl-", "ChatCompletion")

    def keep(self, id_: str, content: bytes) -> None:
        """Holds a file's content."""
        self._contents.keep((self._tenant, id_), content)

    def content(self, id_: str) -> bytes:
        """Raises Refusal where the content is gone."""
        self.files.get(id_)
        if (self._tenant, id_) not in self._contents:
            raise Refusal(400, "The demo no longer holds the content of this file.", param="id")
        return self._contents[self._tenant, id_]

    def forget(self, id_: str) -> None:
        self._contents.forget((self._tenant, id_))

    def keep_part(self, upload: str, part: str, content: bytes) -> None:
        """Holds a part of an upload, as a file's content is held."""
        self._contents.keep((self._tenant, upload, part), content)

    def part(self, upload: str, part: str) -> bytes:
        """Raises KeyError."""
        return self._contents[self._tenant, upload, part]


class Tenants:
    """The stores by API key, and what arrived under tags."""

    def __init__(self) -> None:
        self._contents = Contents()
        self._stores: OrderedDict[str, Store] = OrderedDict()
        self._seen: OrderedDict[str, Seen] = OrderedDict()

    def store(self, key: str) -> Store:
        """What is remembered for this key: nobody sees another's files."""
        tenant = digest(key)
        if tenant not in self._stores:
            self._stores[tenant] = Store(tenant, self._contents)
        self._stores.move_to_end(tenant)
        if len(self._stores) > MAX_TENANTS:
            self._stores.popitem(last=False)
        return self._stores[tenant]

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
