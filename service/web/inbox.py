"""/v1/callbacks: every inbound call with its verdict, and its replay."""

import codecs
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from service import ids, jsontext
from service.database import Row
from service.document import moment
from service.errors import NotFound
from service.operating import Actor
from service.replay import Replayed
from service.store import callbacks
from service.store.access import Access
from service.store.callbacks import FULL_LENGTH, VERDICTS, Wanted
from service.store.jobs import FIRST_ID, LAST_ID
from service.web.access import field_fault, json_body, need, page_limit, page_of, path_id
from service.web.acts import STRICT, Reason
from service.web.answers import json_answer
from service.web.bounds import cursor, id_at
from service.web.jobs import seen_by

BODY_BYTES = 16 * 1024
FILTERS = (
    *("job", "provider", "verdict", "reason", "created_after", "created_before"),
    *("limit", "after"),
)


class Replay(BaseModel):
    model_config = STRICT

    dry_run: bool = False
    reason: Reason = None


async def page(request: Request) -> Response:
    """Calls about an app's jobs, newest first; all there are for a key that sees every app."""
    who = await need(request, "read", "operate")
    limit = page_limit(request)
    for name, value in request.query_params.multi_items():
        if name not in FILTERS:
            raise field_fault(name[:64], f"is no filter; there are {', '.join(FILTERS)}")
        if "\x00" in value:
            raise field_fault(name, "must be text without NUL characters")
    wanted = filter_of(request.query_params)
    rows = await callbacks.page(request.state.db, seen_by(who), wanted, limit + 1)
    return json_answer(page_of([shown(row) for row in rows], limit))


async def show(request: Request) -> Response:
    """One call, its body whole."""
    who = await need(request, "read", "operate")
    return json_answer(shown(await _visible(request, who)))


async def replay(request: Request) -> Response:
    """Runs the stored bytes again; `dry_run` only says what would come of it."""
    who = await need(request, "operate")
    wanted = await json_body(request, Replay, most=BODY_BYTES, may_be_empty=True)
    row = await _visible(request, who)
    replayed = await request.state.replayer.replay(
        callbacks.stored(row),
        Actor(who=ids.show("key", who.key_id), reason=wanted.reason),
        dry_run=wanted.dry_run,
        any_job=seen_by(who) is None,
    )
    return json_answer(outcome(row, replayed, dry_run=wanted.dry_run))


async def _visible(request: Request, who: Access) -> Row:
    row = await callbacks.get(request.state.db, path_id(request, "cbk"))
    if row is None or seen_by(who) not in (None, row["app_id"]):
        raise NotFound("there is no such callback", code="not_found")
    return row


def filter_of(query: Mapping[str, str]) -> Wanted:
    """The filters of `GET /v1/callbacks`. Raises InvalidRequest."""
    verdict = query.get("verdict")
    if verdict is not None and verdict not in VERDICTS:
        raise field_fault("verdict", f"must be one of {', '.join(VERDICTS)}")
    job = query.get("job")
    job_id = None if job is None else ids.read("job", job)
    if job is not None and job_id is None:
        raise field_fault("job", "must be a job's id: job_ and 32 hex digits")
    return Wanted(
        provider=query.get("provider"),
        verdict=verdict,
        reason=query.get("reason"),
        job_id=job_id,
        after=id_at(query.get("created_after"), "created_after") or FIRST_ID,
        before=min(
            id_at(query.get("created_before"), "created_before") or LAST_ID,
            cursor("cbk", query.get("after")),
        ),
    )


def shown(row: Row) -> dict[str, Any]:
    """A call as the API shows it. `body` is text, or base64 where it is none (`encoding`); of a
    body of `bytes` bytes it may be only the beginning (`cut`)."""
    headers = jsontext.loads(row["headers"])
    length = int(headers.pop(FULL_LENGTH, row["stored_bytes"]))
    cut = len(row["body"]) < length
    body, encoding = _readable(row["body"], cut=cut)
    return {
        "id": ids.show("cbk", row["id"]),
        "provider": row["provider"],
        "job": None if row["job_id"] is None else ids.show("job", row["job_id"]),
        "attempt": row["attempt"],
        "at": moment(row["received_at"]),
        "verdict": row["verdict"],
        "reason": row["reason"],
        "source": row["address"],
        "provider_id": row["provider_id"],
        "headers": headers,
        "body": body,
        "encoding": encoding,
        "bytes": length,
        "cut": cut,
    }


def _readable(body: bytes, *, cut: bool) -> tuple[str, str]:
    """`body` and how it is shown. A cut may lie within a letter."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(body, final=not cut), "text"
    except UnicodeDecodeError:
        return b64encode(body).decode(), "base64"


def outcome(row: Row, replayed: Replayed, *, dry_run: bool) -> dict[str, Any]:
    """What came of a replay: `from` and `to` are the job's states, `was` the call's own verdict."""
    return {
        "id": ids.show("cbk", row["id"]),
        "job": None if replayed.job_id is None else ids.show("job", replayed.job_id),
        "attempt": replayed.attempt,
        "verdict": replayed.verdict,
        "reason": replayed.reason,
        "was": {"verdict": row["verdict"], "reason": row["reason"]},
        "from": replayed.was,
        "to": replayed.now,
        "moved": replayed.moved,
        "dry_run": dry_run,
    }
