"""Short ways to hold a conversation with the provider fal, for its tests."""

from typing import Any
from uuid import UUID

from service import jsontext
from service.providers import Attempt, Reply, Report
from service.providers.fal import Fal, Settings, build

ID = "3f1c7a52-8d0e-4c19-9b6a-52e0c4d7a901"
DONE = {"status": "COMPLETED", "request_id": ID}
MEDIA = {"video": {"url": "https://v3.fal.media/files/a/ferry.mp4"}}
HOOK = {"request_id": ID, "gateway_request_id": ID, "status": "OK", "payload": MEDIA}
PRINTED = {"fal_queue_url": "https://queue.fal.run", "fal_trust": "signed"}


def fal(**settings: Any) -> Fal:
    built = build(Settings(**{"fal_key": "an-id:a-secret", **PRINTED, **settings}))
    assert built is not None
    return built


FAL = fal()


def attempt(model: str = "fal-ai/veo3/fast", **told: Any) -> Attempt:
    return Attempt(job_id=UUID(int=1), number=1, model=model, **{"input": {}, **told})


def reply(status: int, body: Any, **headers: str) -> Reply:
    """A reply with `body` as its JSON, or as it is where it is bytes."""
    content = body if isinstance(body, bytes) else jsontext.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, content=content, headers=named)


def polled(*replies: Reply) -> Report:
    """What a poll reports that is sent these replies; those left over are not asked for."""
    conversation = FAL.poll(attempt(provider_id=ID))
    try:
        next(conversation)
        for one in replies:
            conversation.send(one)
    except StopIteration as end:
        report: Report = end.value
        return report
    raise AssertionError("more was asked for than there are replies")


def called(body: Any) -> Report:
    return FAL.read_callback({}, jsontext.dumps(body).encode())
