"""Every example that the providers' pages print, the whole way: asked for over HTTP, held to the
catalog, sent by the submitter, and the reply to it read off the wire into the job that is shown."""

from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import app_client
import pytest
from app_client import KEY
from fal_conversation import HOOK, called
from posting import answering, in_turn, one_round, provider_at, submitter
from printed_inputs import Cassette, read_by
from raw_server import serving
from scene import job_row, make_app, make_job
from sweeping import look

from service import document, jsontext
from service.database import Database
from service.job import State
from service.providers import Provider

Place = tuple[str, str]
REQUESTS, RESULTS = read_by("submission"), read_by("poll")
OURS = "https://board.example/callbacks/"


def named(place: Place) -> str:
    return "-".join(place)


def page(place: Place) -> str:
    """The provider, and the number of the page that prints it."""
    return f"{place[0]} {place[1][:3]}"


def test_every_example_has_its_cassette() -> None:
    requests = {"genviral 000": 1, "genviral 001": 1, "prism 002": 2, "fal 003": 23, "relay 004": 1}
    assert Counter(map(page, REQUESTS)) == requests
    assert Counter(map(page, RESULTS)) == {"fal 003": 11}
    assert len({jsontext.canonical(one["attempt"]) for one in REQUESTS.values()}) == 28
    printed = {**REQUESTS, **RESULTS}.items()
    for ending, number in (("required", 11), ("full", 11), ("curl", 1), ("reply", 11)):
        models = [one["attempt"]["model"] for (_, name), one in printed if name.endswith(ending)]
        assert len(models) == len(set(models)) == number, ending


async def submitted(db: Database, one: Provider, about: dict[str, Any]) -> dict[str, Any]:
    """The job as the app sees it once its POST has been answered."""
    creator = app_client.creator(db, providers={one.name: one})
    async with app_client.client(app_client.app(db, creator)) as web:
        asked = {"model": about["model"], "input": about["input"]}
        made = await web.post("/v1/jobs", json=asked)
        assert made.status_code == 202, made.text
        await one_round(submitter(db, one))
        job: dict[str, Any] = (await web.get(made.headers["location"])).json()
        return job


def is_as_printed(request: bytes, one: Provider, step: Cassette) -> bool:
    """Whether what went over the wire is the printed request, to the type of each value, but for
    the address that is called back: that is ours."""
    head, _, body = request.decode().partition("\r\n\r\n")
    lines = head.lower().split("\r\n")
    assert lines[0].startswith(f"post {urlsplit(step['request']['url']).path.lower()}")
    for name, value in {**one.credentials(), **step["request"]["headers"]}.items():
        assert f"{name}: {value}".lower() in lines
    sent, wanted = jsontext.loads(body), dict(step["request"]["json"])
    if "notify_hook" in wanted:
        assert sent["notify_hook"].startswith(OURS)
        wanted["notify_hook"] = sent["notify_hook"]
    return jsontext.canonical(sent) == jsontext.canonical(wanted)


@pytest.mark.parametrize("place", REQUESTS, ids=named)
async def test_a_request_goes_out_as_it_is_printed_and_the_reply_is_read(
    db: Database, place: Place
) -> None:
    cassette = REQUESTS[place]
    about, (step,), wanted = cassette["attempt"], cassette["exchange"], cassette["expect"]
    await make_app(db, key=KEY)
    async with serving(answering(f"{step['reply']['status']} So", step["reply"]["json"])) as server:
        one = provider_at(place[0], server.origin)
        job = await submitted(db, one, about)
    (request,) = server.requests
    assert is_as_printed(request, one, step)
    read = wanted["accepted"]
    charged = None if job["cost"] is None else job["cost"]["actual"]
    assert (job["state"], job["provider_id"]) == ("submitted", read["provider_id"])
    assert charged == (f"{read['actual']}" if "actual" in read else None)
    assert job["progress"]["queue_position"] == read.get("progress", {}).get("queue_position")
    hook = {} if job["notify_hook"] is None else {"notify_hook": job["notify_hook"]}
    assert job["input"] | hook == about["input"]


@pytest.mark.parametrize("place", RESULTS, ids=named)
async def test_a_result_is_the_jobs_output_as_it_is_printed(db: Database, place: Place) -> None:
    cassette = RESULTS[place]
    status, result = (step["reply"]["json"] for step in cassette["exchange"])
    model = cassette["attempt"]["model"]
    job = await make_job(db, await make_app(db), State.SUBMITTED, model=model)
    talk = in_turn(answering("200 OK", status), answering("200 OK", result))
    async with serving(talk) as server:
        await look(db, provider_at("fal", server.origin))
    assert [request.split()[0] for request in server.requests] == [b"GET", b"GET"]
    shown = document.of_job(await job_row(db, job))
    video = result["video"]
    assert (shown["state"], shown["output"], shown["error"]) == ("completed", result, None)
    (output,) = shown["outputs"]
    assert (output["url"], output["content_type"]) == (video["url"], video.get("content_type"))
    told = called({**HOOK, "payload": result})
    assert (told.state, told.output) == (State.COMPLETED, result)
