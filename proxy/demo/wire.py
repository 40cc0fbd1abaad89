"""Between aiohttp and the answers: bodies in, paced and faulty answers out."""

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from aiohttp import BodyPartReader, web

from proxy.demo import checks
from proxy.demo.checks import Refusal
from proxy.demo.faults import MAX_DELAY, Fault, Orders
from proxy.demo.model.answers import Json
from proxy.demo.store import Store, Tenants

__all__ = ["ORDERS", "RAW", "STORE", "TENANTS", "Form", "Upload", "body", "form", "json", "stream"]

TENANTS: web.AppKey[Tenants] = web.AppKey("tenants", Tenants)
STORE: web.RequestKey[Store] = web.RequestKey("store", Store)
ORDERS: web.RequestKey[Orders] = web.RequestKey("orders", Orders)
RAW: web.RequestKey[bytes] = web.RequestKey("raw", bytes)
"""The body of a request that is not a form."""

MAX_FIELD = 1 << 20
MAX_FIELDS = 100
MAX_UPLOAD = 1 << 30
MAX_KEPT = 16 << 20
ERROR = {"message": "The server had an error while processing your request.", "type": "server_error", "param": None}
ERROR_FRAME = b"data: %b\n\n" % msgspec.json.encode({"error": {**ERROR, "code": "server_error"}})
NAMED_ERROR_FRAME = b"event: error\ndata: %b\n\n" % msgspec.json.encode(
    {"type": "error", "code": "server_error", "message": ERROR["message"], "param": None, "sequence_number": 99_999}
)


def json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def body(request: web.Request) -> Json:
    """The request's JSON object. Raises Refusal."""
    return checks.decode(request[RAW])


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form; the content only where it is small enough to keep."""

    filename: str
    size: int
    sha256: str
    content: bytes | None


@dataclass(slots=True)
class Form:
    """A multipart body, read as it came."""

    fields: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

    def file(self, name: str) -> Upload:
        """Raises Refusal where it is missing."""
        if name not in self.files:
            message = f"Missing required parameter: '{name}'."
            raise Refusal(400, message, param=name, code="missing_required_parameter")
        return self.files[name]

    def digestible(self) -> Json:
        """What the answer may depend on: everything but the boundary."""
        return {**self.fields, **self.lists, **{name: file.sha256 for name, file in self.files.items()}}


async def form(request: web.Request) -> Form:
    """Reads a multipart body in bounded memory. Raises Refusal."""
    read = Form()
    if not request.content_type.startswith("multipart/"):
        raise Refusal(400, "Expected a multipart/form-data body.", code="invalid_content_type")
    try:
        reader = await request.multipart()
        async for part in reader:
            if not isinstance(part, BodyPartReader) or not part.name:
                raise Refusal(400, "Every part of the form needs a name.")
            if len(read.fields) + len(read.files) + sum(map(len, read.lists.values())) >= MAX_FIELDS:
                raise Refusal(400, "The form has too many fields.")
            await _part(read, part)
    except (ValueError, web.RequestPayloadError):
        raise Refusal(400, "Could not parse multipart form.") from None
    return read


async def _part(read: Form, part: BodyPartReader) -> None:
    name = str(part.name)
    if part.filename is not None:
        read.files[name] = await _upload(part, part.filename)
        return
    raw = await _bounded(part, MAX_FIELD)
    text = raw.decode("utf-8", "replace")
    if name.endswith("[]"):
        read.lists.setdefault(name.removesuffix("[]"), []).append(text)
    else:
        read.fields[name] = text


async def _bounded(part: BodyPartReader, limit: int) -> bytes:
    raw = bytearray()
    while chunk := await part.read_chunk(65_536):
        raw += chunk
        if len(raw) > limit:
            raise Refusal(413, "Maximum content size limit exceeded.", code="request_too_large")
    return bytes(raw)


async def _upload(part: BodyPartReader, filename: str) -> Upload:
    size = 0
    sum_ = hashlib.sha256()
    kept = bytearray()
    while chunk := await part.read_chunk(262_144):
        size += len(chunk)
        sum_.update(chunk)
        if size <= MAX_KEPT:
            kept += chunk
        if size > MAX_UPLOAD:
            raise Refusal(413, "Maximum content size limit exceeded.", code="request_too_large")
    return Upload(filename, size, sum_.hexdigest(), bytes(kept) if size <= MAX_KEPT else None)


async def stream(request: web.Request, chunks: Iterable[bytes], content_type: str) -> web.StreamResponse:
    """Writes the chunks one by one at the ordered pace, and does the ordered wrong."""
    orders = request[ORDERS]
    response = web.StreamResponse(headers={"content-type": content_type})
    if content_type.startswith("text/event-stream"):
        response.headers["cache-control"] = "no-cache"
    await response.prepare(request)
    for number, chunk in enumerate(chunks):
        if orders.fault and number == orders.after and await _go_wrong(request, response, orders.fault, chunk):
            return response
        if orders.fault is Fault.NO_DONE and chunk == b"data: [DONE]\n\n":
            break
        if orders.pace and number:
            await asyncio.sleep(orders.pace)
        await response.write(chunk)
    await response.write_eof()
    return response


async def _go_wrong(request: web.Request, response: web.StreamResponse, fault: Fault, chunk: bytes) -> bool:
    """Does what was ordered at this point; true where the answer ends with it."""
    match fault:
        case Fault.CUT:
            await _drained(request)
            if request.transport is not None:
                request.transport.close()
        case Fault.RESET:
            await _drained(request)
            if request.transport is not None:
                request.transport.abort()
        case Fault.STALL:
            await asyncio.sleep(MAX_DELAY)
        case Fault.ERROR_FRAME:
            await response.write(NAMED_ERROR_FRAME if chunk.startswith(b"event: ") else ERROR_FRAME)
            await response.write_eof()
        case Fault.GARBAGE:
            await response.write(b"data: {this is not JSON\n\n")
            return False
        case Fault.NO_DONE | Fault.RESET_EARLY:
            return False
    return True


async def _drained(request: web.Request) -> None:
    """Lets what was written reach the other side before the connection goes."""
    for _ in range(50):
        if request.transport is None or not request.transport.get_write_buffer_size():
            break
        await asyncio.sleep(0.002)
