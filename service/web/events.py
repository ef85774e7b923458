"""/v1/events: the feed, by page or as a stream of server-sent events."""

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from service import feed, ids, jsontext
from service.errors import NotFound
from service.feed import BEGINNING, Wanted
from service.job import ALL_EVENT_TYPES
from service.store import feed as stored
from service.store import jobs
from service.store.access import Access
from service.web.access import field_fault, need, page_limit, path_id
from service.web.stream import MEDIA_TYPE, Stream

PARAMETERS = ("after", "job", "limit", "type")
Cursor = tuple[int, UUID]  # a place, and the event that stands there


async def read(request: Request) -> Response | Stream:
    """A page from the cursor on, or a stream where that is what the caller takes."""
    who = await need(request, "read", "operate")
    limit = page_limit(request)
    wanted = await _wanted(request, who)
    after = await _after(request, wanted)
    if MEDIA_TYPE in request.headers.get("accept", "").lower():
        return await _stream(request, who, wanted, after)
    place = 0 if after is None else after[0]
    await stored.note_reading(request.state.db)
    events, more = await feed.page(request.state.db, wanted, after=place, limit=limit)
    following = ids.show("evt", events[-1].id) if more else None
    texts = ",".join(event.text for event in events)
    body = f'{{"data":[{texts}],"next":{jsontext.dumps(following)}}}'
    return Response(body, media_type="application/json")


async def show(request: Request) -> Response:
    """One event."""
    who = await need(request, "read", "operate")
    line = await feed.find(request.state.db, path_id(request, "evt"), who.sees)
    told = [] if line is None else await feed.tell(request.state.db, [line])
    if not told:
        raise NotFound("there is no such event", code="not_found")
    return Response(told[0].text, media_type="application/json")


async def _stream(
    request: Request, who: Access, wanted: Wanted, after: Cursor | None
) -> Response | Stream:
    """From the cursor on; without one from now on, or from the beginning of the one job that is
    read. 204 where nothing more will come: browsers do not ask again after that."""
    db, tail = request.state.db, request.state.tail
    if after is None and wanted.job_id is None:
        head = await stored.head(db)
        after = head, await stored.last(db, wanted.app_id, head) or BEGINNING
    place, cursor = after or (0, BEGINNING)
    if request.method == "HEAD":
        return Response(media_type=MEDIA_TYPE)
    reader = await tail.join(wanted, place=place, cursor=cursor, key_id=who.key_id)
    try:
        first = [] if wanted.job_id is None else await reader.take()
        over = not first and await reader.job_is_told()
    except BaseException:
        tail.leave(reader)
        raise
    if over:
        tail.leave(reader)
        return Response(status_code=204)
    return Stream(tail, reader, first)


async def _wanted(request: Request, who: Access) -> Wanted:
    """Raises InvalidRequest, and NotFound where the key sees no such job."""
    for name in request.query_params:
        if name not in PARAMETERS:
            raise field_fault(name[:64], f"is no parameter; there are {', '.join(PARAMETERS)}")
    types = _types(request)
    text = request.query_params.get("job")
    if text is None:
        return Wanted(app_id=who.sees, types=types)
    job_id = ids.read("job", text)
    if job_id is None:
        raise field_fault("job", "must be a job's id: job_ and 32 hex digits")
    row = await jobs.get(request.state.db, job_id)
    if row is None or who.sees not in (None, row["app_id"]):
        raise NotFound("there is no such job", code="not_found")
    return Wanted(app_id=who.sees, job_id=job_id, types=types)


def _types(request: Request) -> tuple[str, ...]:
    """`type`, once or several times, each one or several with commas; all where it is left out."""
    given = ",".join(request.query_params.getlist("type"))
    if not request.query_params.getlist("type"):
        return ALL_EVENT_TYPES
    types = tuple(dict.fromkeys(one.strip() for one in given.split(",")))
    for one in types:
        if one not in ALL_EVENT_TYPES:
            raise field_fault("type", f"must be of {', '.join(ALL_EVENT_TYPES)}")
    return types


async def _after(request: Request, wanted: Wanted) -> Cursor | None:
    """The cursor: Last-Event-ID, which a browser sends when it resumes, before `after`."""
    field, text = "Last-Event-ID", request.headers.get("last-event-id")
    if not text:
        field, text = "after", request.query_params.get("after")
    if text is None:
        return None
    found = await feed.cursor(request.state.db, text, wanted.app_id)
    if found is None:
        raise field_fault(
            field,
            "names no event that is kept and that this key sees; without it a page begins with"
            " the oldest event that is kept",
        )
    return found
