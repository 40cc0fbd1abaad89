"""Batches, fine-tuning jobs, vector stores, uploads, conversations: objects that are made, shown and ended."""

from typing import Any

import msgspec

from proxy.demo.checks import Chat, Completion, Embeddings, Refusal, Responses, convert
from proxy.demo.model import chat, embeddings, responses
from proxy.demo.model.answers import CREATED, Json, digest
from proxy.demo.store import Store

__all__ = [
    "cancel_batch",
    "cancel_job",
    "new_batch",
    "new_file",
    "new_job",
    "new_upload",
    "new_vector_store",
    "run_batch",
]

DAY = 86_400
MAX_LINES = 10_000
_ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")


class NewBatch(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


class NewJob(msgspec.Struct):
    model: str
    training_file: str
    validation_file: str | None = None
    seed: int | None = None
    hyperparameters: Json | None = None
    method: Json | None = None
    metadata: dict[str, str] | None = None
    suffix: str | None = None


class NewVectorStore(msgspec.Struct):
    name: str | None = None
    file_ids: list[str] | None = None
    metadata: dict[str, str] | None = None
    expires_after: Json | None = None


class NewUpload(msgspec.Struct):
    bytes: int
    filename: str
    mime_type: str
    purpose: str


def new_file(store: Store, filename: str, purpose: str, size: int, sha256: str) -> Json:
    """Files an upload under a name that follows from its content."""
    return store.files.put({
        "id": store.files.new_id(filename, purpose, sha256),
        "object": "file",
        "bytes": size,
        "created_at": CREATED,
        "expires_at": None,
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    })  # fmt: skip


def new_batch(store: Store, body: Json) -> Json:
    """Raises Refusal."""
    wanted = convert(body, NewBatch)
    if wanted.endpoint not in _ENDPOINTS:
        message = f"Invalid value: '{wanted.endpoint[:100]}'. Supported values are: {', '.join(_ENDPOINTS)}."
        raise Refusal(400, message, param="endpoint", code="invalid_value")
    store.files.get(wanted.input_file_id)
    dates = (
        "in_progress_at",
        "finalizing_at",
        "completed_at",
        "failed_at",
        "expired_at",
        "cancelling_at",
        "cancelled_at",
    )
    return store.batches.put({
        "id": store.batches.new_id(msgspec.to_builtins(wanted)),
        "object": "batch",
        "endpoint": wanted.endpoint,
        "errors": None,
        "input_file_id": wanted.input_file_id,
        "completion_window": wanted.completion_window,
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": CREATED,
        "expires_at": CREATED + DAY,
        **dict.fromkeys(dates),
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": wanted.metadata,
    })  # fmt: skip


def run_batch(store: Store, id_: str) -> Json:
    """The batch; the first look at it after it was made finds it completed. Raises Refusal."""
    batch = store.batches.get(id_)
    if batch["status"] != "validating":
        return batch
    lines = [line for line in store.content(batch["input_file_id"]).splitlines()[:MAX_LINES] if line.strip()]
    results = [_line(line, batch["endpoint"], n) for n, line in enumerate(lines)]
    output = b"".join(msgspec.json.encode(result) + b"\n" for result in results)
    file = new_file(store, f"{id_}_output.jsonl", "batch_output", len(output), digest(output))
    store.keep(file["id"], output)
    good = sum(result["error"] is None and result["response"]["status_code"] == 200 for result in results)
    counts = {"total": len(results), "completed": good, "failed": len(results) - good}
    dates = dict.fromkeys(("in_progress_at", "finalizing_at", "completed_at"), CREATED)
    done = {"status": "completed", "output_file_id": file["id"], "request_counts": counts}
    return store.batches.put({**batch, **dates, **done})


def _line(line: bytes, endpoint: str, n: int) -> Json:
    name = f"batch_req_{digest(line, salt=str(n))[:24]}"
    result: Json = {"id": name, "custom_id": None, "response": None, "error": None}
    try:
        asked = msgspec.json.decode(line, type=Json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {**result, "error": {"code": "invalid_json_line", "message": "This line is not a JSON object."}}
    body = asked.get("body")
    status, answer = _answer(body if isinstance(body, dict) else {}, endpoint)
    response = {"status_code": status, "request_id": f"req_{name[10:]}", "body": answer}
    return {**result, "custom_id": asked.get("custom_id"), "response": response}


def _answer(body: Json, endpoint: str) -> tuple[int, Json]:
    seed = digest(body)
    try:
        match endpoint:
            case "/v1/chat/completions":
                return 200, chat.whole(convert(body, Chat), seed)
            case "/v1/completions":
                return 200, chat.completion(convert(body, Completion), seed)
            case "/v1/embeddings":
                return 200, embeddings.embed(convert(body, Embeddings))
            case _:
                return 200, responses.whole(convert(body, Responses), seed)
    except Refusal as refusal:
        return refusal.status, refusal.body()


def cancel_batch(store: Store, id_: str) -> Json:
    """Raises Refusal."""
    batch = store.batches.get(id_)
    if batch["status"] != "validating":
        raise Refusal(409, f"Cannot cancel a batch with status '{batch['status']}'.", code="conflict")
    return store.batches.put({**batch, "status": "cancelled", "cancelling_at": CREATED, "cancelled_at": CREATED})


def new_job(store: Store, body: Json) -> Json:
    """Raises Refusal."""
    wanted = convert(body, NewJob)
    store.files.get(wanted.training_file)
    defaults = {"batch_size": "auto", "learning_rate_multiplier": "auto", "n_epochs": "auto"}
    return store.jobs.put({
        "id": store.jobs.new_id(msgspec.to_builtins(wanted)),
        "object": "fine_tuning.job",
        "created_at": CREATED,
        "error": None,
        "fine_tuned_model": None,
        "finished_at": None,
        "hyperparameters": {**defaults, **(wanted.hyperparameters or {})},
        "model": wanted.model,
        "organization_id": "org-demo",
        "result_files": [],
        "seed": wanted.seed or 0,
        "status": "queued",
        "trained_tokens": None,
        "training_file": wanted.training_file,
        "validation_file": wanted.validation_file,
        "estimated_finish": None,
        "integrations": [],
        "metadata": wanted.metadata,
        "method": wanted.method or {"type": "supervised"},
    })  # fmt: skip


def cancel_job(store: Store, id_: str) -> Json:
    """Raises Refusal."""
    return store.jobs.put({**store.jobs.get(id_), "status": "cancelled", "finished_at": CREATED})


def job_events(store: Store, id_: str) -> list[Json]:
    """Raises Refusal."""
    job = store.jobs.get(id_)
    said = ("Created fine-tuning job", f"Job is {job['status']}")
    event: Json = {
        "object": "fine_tuning.job.event",
        "created_at": CREATED,
        "level": "info",
        "type": "message",
        "data": {},
    }
    return [{"id": f"ftevent-{digest([id_, text])[:24]}", "message": text, **event} for text in reversed(said)]


def new_vector_store(store: Store, body: Json) -> Json:
    """Raises Refusal."""
    wanted = convert(body, NewVectorStore)
    files = [store.files.get(id_) for id_ in wanted.file_ids or []]
    counts = {"in_progress": 0, "completed": len(files), "failed": 0, "cancelled": 0, "total": len(files)}
    return store.vector_stores.put({
        "id": store.vector_stores.new_id(msgspec.to_builtins(wanted)),
        "object": "vector_store",
        "created_at": CREATED,
        "name": wanted.name or "",
        "usage_bytes": sum(file["bytes"] for file in files),
        "file_counts": counts,
        "status": "completed",
        "expires_after": wanted.expires_after,
        "expires_at": None,
        "last_active_at": CREATED,
        "metadata": wanted.metadata or {},
    })  # fmt: skip


def update_vector_store(store: Store, id_: str, body: Json) -> Json:
    """Raises Refusal."""
    changed = {key: value for key, value in body.items() if key in ("name", "metadata", "expires_after")}
    return store.vector_stores.put({**store.vector_stores.get(id_), **changed})


def new_upload(store: Store, body: Json) -> Json:
    """Raises Refusal."""
    wanted = convert(body, NewUpload)
    return store.uploads.put({
        "id": store.uploads.new_id(msgspec.to_builtins(wanted)),
        "object": "upload",
        "bytes": wanted.bytes,
        "created_at": CREATED,
        "filename": wanted.filename,
        "purpose": wanted.purpose,
        "status": "pending",
        "expires_at": CREATED + 3_600,
        "file": None,
    })  # fmt: skip


def complete_upload(store: Store, id_: str, parts: list[Any]) -> Json:
    """Puts the parts together as a file. Raises Refusal."""
    upload = store.uploads.get(id_)
    if upload["status"] != "pending":
        raise Refusal(400, f"The upload is {upload['status']}.", param="upload_id")
    try:
        content = b"".join(store.part(id_, str(part)) for part in parts)
    except KeyError:
        raise Refusal(400, "One of the parts was never uploaded.", param="part_ids", code="invalid_value") from None
    if len(content) != upload["bytes"]:
        raise Refusal(400, f"Expected {upload['bytes']} bytes, got {len(content)}.", param="bytes")
    file = new_file(store, upload["filename"], upload["purpose"], len(content), digest(content))
    store.keep(file["id"], content)
    return store.uploads.put({**upload, "status": "completed", "file": file})
