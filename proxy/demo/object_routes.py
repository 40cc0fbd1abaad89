"""The paths of things that are made, listed, shown and deleted: files, uploads, batches, jobs, vector stores."""

import msgspec
from aiohttp import web

from proxy.demo import objects, wire
from proxy.demo.checks import Refusal, convert
from proxy.demo.model.answers import CREATED, Json, digest
from proxy.demo.store import Shelf, Store, page
from proxy.demo.wire import STORE

__all__ = ["ROUTES"]

ROUTES = web.RouteTableDef()


def _listed(request: web.Request, shelf: Shelf) -> web.Response:
    return wire.json(page(shelf.all(), request.query))


def _id(request: web.Request) -> str:
    return request.match_info["id"]


def _gone(value: Json, noun: str) -> web.Response:
    return wire.json({"id": value["id"], "object": noun, "deleted": True})


@ROUTES.post("/v1/files")
async def upload_file(request: web.Request) -> web.StreamResponse:
    form = await wire.form(request)
    upload = form.file("file")
    purpose = form.fields.get("purpose")
    if not purpose:
        message = "Missing required parameter: 'purpose'."
        raise Refusal(400, message, param="purpose", code="missing_required_parameter")
    store = request[STORE]
    file = objects.new_file(store, upload.filename, purpose, upload.size, upload.sha256)
    if upload.content is not None:
        store.keep(file["id"], upload.content)
    return wire.json(file)


@ROUTES.get("/v1/files")
async def list_files(request: web.Request) -> web.StreamResponse:
    purpose = request.query.get("purpose")
    files = [file for file in request[STORE].files.all() if purpose in (None, file["purpose"])]
    return wire.json(page(files, request.query))


@ROUTES.get("/v1/files/{id}")
async def retrieve_file(request: web.Request) -> web.StreamResponse:
    return wire.json(request[STORE].files.get(_id(request)))


@ROUTES.get("/v1/files/{id}/content")
async def file_content(request: web.Request) -> web.StreamResponse:
    store = request[STORE]
    content = store.content(_id(request))
    name = store.files.get(_id(request))["filename"].replace('"', "")
    headers = {"content-disposition": f'attachment; filename="{name}"'} if name.isprintable() and name.isascii() else {}
    return web.Response(body=content, content_type="application/octet-stream", headers=headers)


@ROUTES.delete("/v1/files/{id}")
async def delete_file(request: web.Request) -> web.StreamResponse:
    store = request[STORE]
    file = store.files.pop(_id(request))
    store.forget(file["id"])
    return _gone(file, "file")


@ROUTES.post("/v1/uploads")
async def create_upload(request: web.Request) -> web.StreamResponse:
    return wire.json(objects.new_upload(request[STORE], wire.body(request)))


@ROUTES.post("/v1/uploads/{id}/parts")
async def add_part(request: web.Request) -> web.StreamResponse:
    store = request[STORE]
    upload = store.uploads.get(_id(request))
    part = (await wire.form(request)).file("data")
    if part.content is None:
        raise Refusal(413, "Maximum content size limit exceeded.", code="request_too_large")
    name = f"part_{digest([upload['id'], part.sha256])[:24]}"
    store.keep_part(upload["id"], name, part.content)
    return wire.json({"id": name, "object": "upload.part", "created_at": CREATED, "upload_id": upload["id"]})


class _Completed(msgspec.Struct):
    part_ids: list[str]


@ROUTES.post("/v1/uploads/{id}/complete")
async def complete_upload(request: web.Request) -> web.StreamResponse:
    parts = convert(wire.body(request), _Completed).part_ids
    return wire.json(objects.complete_upload(request[STORE], _id(request), parts))


@ROUTES.post("/v1/uploads/{id}/cancel")
async def cancel_upload(request: web.Request) -> web.StreamResponse:
    shelf = request[STORE].uploads
    return wire.json(shelf.put({**shelf.get(_id(request)), "status": "cancelled"}))


@ROUTES.post("/v1/batches")
async def create_batch(request: web.Request) -> web.StreamResponse:
    return wire.json(objects.new_batch(request[STORE], wire.body(request)))


@ROUTES.get("/v1/batches")
async def list_batches(request: web.Request) -> web.StreamResponse:
    return _listed(request, request[STORE].batches)


@ROUTES.get("/v1/batches/{id}")
async def retrieve_batch(request: web.Request) -> web.StreamResponse:
    return wire.json(objects.run_batch(request[STORE], _id(request)))


@ROUTES.post("/v1/batches/{id}/cancel")
async def cancel_batch(request: web.Request) -> web.StreamResponse:
    return wire.json(objects.cancel_batch(request[STORE], _id(request)))


@ROUTES.post("/v1/fine_tuning/jobs")
async def create_job(request: web.Request) -> web.StreamResponse:
    return wire.json(objects.new_job(request[STORE], wire.body(request)))


@ROUTES.get("/v1/fine_tuning/jobs")
async def list_jobs(request: web.Request) -> web.StreamResponse:
    return _listed(request, request[STORE].jobs)


@ROUTES.get("/v1/fine_tuning/jobs/{id}")
async def retrieve_job(request: web.Request) -> web.StreamResponse:
    return wire.json(request[STORE].jobs.get(_id(request)))


@ROUTES.post("/v1/fine_tuning/jobs/{id}/cancel")
async def cancel_job(request: web.Request) -> web.StreamResponse:
    return wire.json(objects.cancel_job(request[STORE], _id(request)))


@ROUTES.get("/v1/fine_tuning/jobs/{id}/events")
async def job_events(request: web.Request) -> web.StreamResponse:
    return wire.json(page(objects.job_events(request[STORE], _id(request)), request.query))


@ROUTES.post("/v1/vector_stores")
async def create_vector_store(request: web.Request) -> web.StreamResponse:
    return wire.json(objects.new_vector_store(request[STORE], wire.body(request)))


@ROUTES.get("/v1/vector_stores")
async def list_vector_stores(request: web.Request) -> web.StreamResponse:
    return _listed(request, request[STORE].vector_stores)


@ROUTES.get("/v1/vector_stores/{id}")
async def retrieve_vector_store(request: web.Request) -> web.StreamResponse:
    return wire.json(request[STORE].vector_stores.get(_id(request)))


@ROUTES.post("/v1/vector_stores/{id}")
async def update_vector_store(request: web.Request) -> web.StreamResponse:
    return wire.json(objects.update_vector_store(request[STORE], _id(request), wire.body(request)))


@ROUTES.delete("/v1/vector_stores/{id}")
async def delete_vector_store(request: web.Request) -> web.StreamResponse:
    return _gone(request[STORE].vector_stores.pop(_id(request)), "vector_store.deleted")


@ROUTES.post("/v1/vector_stores/{id}/search")
async def search_vector_store(request: web.Request) -> web.StreamResponse:
    return wire.json(_found(request[STORE], _id(request), wire.body(request)))


def _found(store: Store, id_: str, body: Json) -> Json:
    store.vector_stores.get(id_)
    query = body.get("query")
    if not isinstance(query, str):
        raise Refusal(400, "Missing required parameter: 'query'.", param="query", code="missing_required_parameter")
    base: Json = {"object": "vector_store.search_results.page", "search_query": [query]}
    return {**base, "data": [], "has_more": False, "next_page": None}
