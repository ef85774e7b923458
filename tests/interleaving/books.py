"""What was done from outside, compared with what is kept of it, and what was paid for."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interleaving.fal import Fal
from interleaving.tables import Snapshot

Word = tuple[UUID, int, str]  # whose verdict a provider called with: job and attempt


@dataclass(eq=False)
class Deed:
    """An act that somebody tried: `result` is `done`, or the code of the refusal; None as long as
    nobody knows."""

    act: str
    job_id: UUID
    attempt: int
    who: str
    result: str | None = None


def deeds(done: list[Deed], rows: list[dict[str, Any]]) -> Iterator[str]:
    """What was answered is what is kept, of the attempt that was meant."""
    kept = Counter(row["who"] for row in rows)
    meant = {deed.who: deed.attempt for deed in done if deed.act not in ("cancel", "resync")}
    for row in rows:
        if row["attempt"] != meant.get(row["who"], row["attempt"]):
            yield f"{row['act']} by {row['who']} of {meant[row['who']]} is of {row['attempt']}"
    canceled = {(row["job_id"], row["attempt"]) for row in rows if row["act"] == "cancel"}
    for deed in done:
        if (deed.act, deed.result) == ("cancel", "done") and not any(
            job == str(deed.job_id) and attempt >= deed.attempt for job, attempt in canceled
        ):
            yield f"the cancel of attempt {deed.attempt} by {deed.who} is kept nowhere"
        count = kept.pop(deed.who, 0)
        least = int(deed.result == "done" and deed.act != "cancel")  # noted once, by the first
        refused = deed.result not in (None, "done") and deed.act != "resync"
        if not least <= count <= (0 if refused else 1):
            yield f"{deed.act} by {deed.who} was {deed.result}, and is kept {count} times"
    if kept:
        yield f"acts by nobody: {kept}"


def words(heard: list[Word], tries: list[dict[str, Any]]) -> Iterator[str]:
    """What a provider was answered that it was heard is kept: the first word, or what disagrees."""
    kept = {(row["job_id"], row["number"]): (row["outcome"], row["disagreement"]) for row in tries}
    for job_id, attempt, verdict in heard:
        outcome, disagreement = kept[str(job_id), attempt]
        if verdict != outcome and disagreement is None:
            yield f"{verdict} of attempt {attempt} was heard, and kept is {outcome}"


def payments(fal: Fal, snapshot: Snapshot) -> Iterator[str]:
    """No attempt is sent again, nor waits to be, after a POST that may have been taken; none is
    sent without its own move."""
    events = snapshot["job_events"]
    waiting = {(job["id"], job["attempt"]) for job in snapshot["jobs"] if job["state"] == "queued"}
    for post in fal.posts:
        if not post.settled and post.key in waiting:
            yield f"attempt {post.about.attempt} waits to be sent, and may have been taken"
    doubtful = Counter(post.token for post in fal.posts if not post.settled)
    taken = Counter(render.token for render in fal.renders)
    begun = Counter(
        (event["job_id"], event["attempt"])
        for event in events
        if event["now"] == "submitting" and event["was"] is not None
    )
    sent = Counter(post.key for post in fal.posts)
    if max((*doubtful.values(), *taken.values(), 0)) > 1:
        yield f"paid twice, or nearly: {doubtful} {taken}"
    if sent - begun:
        yield f"sent more often than begun: {sent - begun}"
    if len(sent) != len({post.token for post in fal.posts}):
        yield "an attempt has two tokens"
