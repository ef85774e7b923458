"""What a run left behind, read from Postgres, the sandbox and the subscriber, and judged."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from chaos.client import Client
from chaos.subscriber import Subscriber
from chaos.wire import Wire
from service import ids
from service.job import END_EVENT_TYPES, ENDED, EVENT_TYPES, State

TELLING = ("true", "duplicate", "progress")
HINTING = {"relay": ("forged",)}  # under the right token, and unsigned: it leads to the render
Kills = Sequence[tuple[float, float]]
LATEST_WRITE_SECONDS = 0.5  # what a killed process had sent is still carried out


@dataclass(frozen=True)
class Event:
    """One row of a job's history."""

    id: str
    now: str
    was: str | None
    attempt: int
    source: str
    at: datetime


@dataclass
class Job:
    """One job as Postgres has it, and each of its entries in the sandbox's ledger."""

    id: str
    prompt: str
    provider: str
    state: str
    error_code: str | None
    learnt_by: str | None
    attempt: int
    events: list[Event] = field(default_factory=list)
    entries: list[Mapping[str, Any]] = field(default_factory=list)
    replied: bool = False

    @property
    def ends(self) -> list[Event]:
        return [event for event in self.events if event.now in ENDED]

    def came_late(self) -> bool:
        """Whether it had been given up when its success came: that completes it nevertheless."""
        return [end.now for end in self.ends] == [State.EXPIRED, State.COMPLETED]

    def called_back(self) -> bool:
        """Whether a callback of the sandbox's was taken that tells of the render."""
        return any(
            call["kind"] in (*TELLING, *HINTING.get(self.provider, ())) and call["status"] == 200
            for entry in self.entries
            for call in entry["callbacks"]
        )

    def cut_short(self, kills: Kills) -> bool:
        """Whether the service was killed between the job's POST and the storing of its reply."""
        moments = [event.at.timestamp() for event in self.events]
        return any(
            event.now == State.SUBMITTING
            and any(at <= end + LATEST_WRITE_SECONDS and begin <= after for begin, end in kills)
            for event, at, after in zip(
                self.events, moments, [*moments[1:], float("inf")], strict=True
            )
        )

    def reply_lost(self, kills: Kills) -> bool:
        return not self.replied or self.cut_short(kills)

    def story(self) -> str:
        """Its timeline and what the sandbox says, for a person to read."""
        steps = " → ".join(f"{e.now}@{e.at:%M:%S.%f}({e.source})" for e in self.events)
        told = [
            f"{e['outcome']} {e['misbehaviour']} calls={e['callbacks']} x{e['accepted']}"
            for e in self.entries
        ]
        return f"{self.id} [{self.prompt}] {steps}; sandbox: {told}; replied={self.replied}"


@dataclass
class Outcome:
    """All of a run's facts."""

    jobs: list[Job]
    ledger: Mapping[str, Any]
    subscriber: Subscriber
    client: Client
    kills: Kills
    downs: int
    feed: list[tuple[str, int, str]]
    calls: Counter[str]
    tries: Counter[str]
    submitting: int

    def faults(self) -> Iterator[str]:
        """Everything that is not as promised; empty where all is."""
        yield from self._jobs_are_those_submitted()
        for job in self.jobs:
            yield from (f"{fault}: {job.story()}" for fault in self._faults_of(job))
        yield from self._paid_once()
        yield from self._heard()
        yield from self._fed()

    def _jobs_are_those_submitted(self) -> Iterator[str]:
        if {job.prompt: job.id for job in self.jobs} != self.client.jobs:
            yield "the jobs in Postgres are not those that the client was told of"
        if len(self.jobs) != len(self.client.jobs):
            yield f"{len(self.jobs)} jobs for {len(self.client.jobs)} keys"

    def _faults_of(self, job: Job) -> Iterator[str]:
        if (len(job.ends) != 1 and not job.came_late()) or job.state not in ENDED:
            yield f"{len(job.ends)} ends"
        if [job.attempt, len(job.entries) > 1] != [1, False]:
            yield "sent more than once"
        if any(end.now == State.EXPIRED for end in job.ends) and not job.reply_lost(self.kills):
            yield "expired though the reply was had"
        if job.state == State.EXPIRED:
            if job.called_back():
                yield "expired though a callback came"
        elif not job.entries:
            yield "ended though the sandbox never accepted it"
        elif job.state != job.entries[0]["outcome"]:
            yield "ended otherwise than the sandbox says"
        doubted = any(event.now == State.UNCONFIRMED for event in job.events)
        if doubted and not job.reply_lost(self.kills):
            yield "doubted though the reply was had"
        told = {
            event_id
            for event_id, event in self.subscriber.events.items()
            if event["type"] in END_EVENT_TYPES and event["data"]["job"]["id"] == job.id
        }
        if told != {end.id for end in job.ends}:
            yield f"its end was told as {sorted(told)}"

    def _paid_once(self) -> Iterator[str]:
        totals = self.ledger["totals"]
        if totals["accepted"] > self.submitting:
            yield f"{totals['accepted']} accepted of {self.submitting} that were being submitted"
        if totals["accepted_twice"]:
            yield f"{totals['accepted_twice']} accepted twice"
        known = sum(len(job.entries) for job in self.jobs)
        if known != totals["jobs"]:
            yield f"the sandbox has {totals['jobs']} jobs, {known} of them are ours"

    def _heard(self) -> Iterator[str]:
        happened = {
            event.id: job.id
            for job in self.jobs
            for event in job.events
            if event.was is not None and event.now in EVENT_TYPES
        }
        yield from self.subscriber.faults
        unheard = [event_id for event_id in happened if not self.subscriber.acknowledged[event_id]]
        if unheard:
            yield f"never acknowledged: {unheard}"
        invented = self.subscriber.events.keys() - happened.keys()
        if invented:
            yield f"told though Postgres has them not: {invented}"

    def _fed(self) -> Iterator[str]:
        """The feed has each event once, a job's in the order of its versions."""
        versions: dict[str, list[int]] = defaultdict(list)
        for job_id, version, _ in self.feed:
            versions[job_id].append(version)
        if any(sorted(set(seen)) != seen for seen in versions.values()):
            yield "the feed repeats an event or has a job's events out of order"
        known = {event.id for job in self.jobs for event in job.events if event.now in EVENT_TYPES}
        if {event_id for *_, event_id in self.feed} != known:
            yield "the feed is not all that happened"

    def table(self) -> str:
        """The run in numbers."""
        expired = {job.id for job in self.jobs if job.state == State.EXPIRED}
        late = [job for job in self.jobs if job.came_late()]
        lost = [job for job in self.jobs if job.reply_lost(self.kills)]
        silent = {job.id for job in lost if not job.called_back()}
        learnt = Counter(job.learnt_by or "nobody" for job in self.jobs)
        doubted = [j for j in self.jobs if any(e.now == State.UNCONFIRMED for e in j.events)]
        heard = self.subscriber.acknowledged
        lines = {
            "jobs": len(self.jobs),
            "ended": _counted(Counter(job.state for job in self.jobs)),
            "learnt by": _counted(learnt),
            "POSTs accepted / attempts that reached submitting": (
                f"{self.ledger['totals']['accepted']} / {self.submitting}"
            ),
            "unconfirmed on the way": len(doubted),
            "replies lost": len(lost),
            "expired / completed after that": f"{len(expired)} / {len(late)}",
            "replies lost and no callback came": len(silent),
            "of these never accepted": sum(not j.entries for j in lost if j.id in silent),
            "kills of the service / restarts of Postgres": f"{len(self.kills)} / {self.downs}",
            "client's POSTs by status (0: no answer)": _counted(self.client.tries),
            "callbacks by verdict": _counted(self.calls),
            "deliveries by number of tries": _counted(self.tries),
            "events heard / again": f"{len(heard)} / {heard.total() - len(heard)}",
        }
        width = max(map(len, lines))
        return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())


async def read(
    dsn: str,
    *,
    ledger: Mapping[str, Any],
    wire: Wire,
    subscriber: Subscriber,
    client: Client,
    kills: Kills,
    downs: int,
) -> Outcome:
    """What Postgres has, beside what the others saw."""
    db = await asyncpg.connect(dsn)
    try:
        jobs = await _jobs(db, ledger, wire)
        feed = await db.fetch("select job_id, version, event_id from feed order by place")
        calls = await db.fetch("select verdict, count(*) as n from callbacks group by verdict")
        tries = await db.fetch("select tries, count(*) as n from deliveries group by tries")
        (sent,) = await db.fetch(
            "select count(distinct (job_id, attempt)) as n from job_events where now = 'submitting'"
        )
    finally:
        await db.close()
    return Outcome(
        jobs=jobs,
        ledger=ledger,
        subscriber=subscriber,
        client=client,
        kills=kills,
        downs=downs,
        feed=[(ids.show("job", r[0]), r[1], ids.show("evt", r[2])) for r in feed],
        calls=Counter({row["verdict"]: row["n"] for row in calls}),
        tries=Counter({str(row["tries"]): row["n"] for row in tries}),
        submitting=sent["n"],
    )


async def _jobs(db: asyncpg.Connection, ledger: Mapping[str, Any], wire: Wire) -> list[Job]:
    entries = {entry["key"]: entry for entry in ledger["jobs"]}
    accepted, replied = defaultdict(dict), set()
    for post in wire.posts:
        if post.key in entries:
            accepted[post.prompt][post.key] = entries[post.key]
        if post.replied:
            replied.add(post.prompt)
    events = defaultdict(list)
    for row in await db.fetch("select * from job_events order by job_id, version"):
        events[row["job_id"]].append(
            Event(
                id=ids.show("evt", row["id"]),
                now=row["now"],
                was=row["was"],
                attempt=row["attempt"],
                source=row["source"],
                at=row["at"],
            )
        )
    rows = await db.fetch(
        "select *, input ->> 'prompt' as prompt, error ->> 'code' as error_code from jobs"
        " order by id"
    )
    return [
        Job(
            id=ids.show("job", row["id"]),
            prompt=row["prompt"],
            provider=row["provider"],
            state=row["state"],
            error_code=row["error_code"],
            learnt_by=row["learnt_by"],
            attempt=row["attempt"],
            events=events[row["id"]],
            entries=list(accepted[row["prompt"]].values()),
            replied=row["prompt"] in replied,
        )
        for row in rows
    ]


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(counter.items())) or "none"
