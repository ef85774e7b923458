"""What holds of every job after every step: each check yields what is wrong, in words."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from interleaving.process import LEASE
from interleaving.tables import Snapshot, of_job
from service.job import ENDED, EVENT_TYPES, MOVES, STUCK_EVENT, State

Row = Mapping[str, Any]
TASKS: dict[str, set[str | None]] = {
    "queued": {"submit"},
    "submitting": {"sending"},
    "unconfirmed": {"give_up"},
    "submitted": {"poll"},
    "running": {"poll"},
    "expired": {"late", None},
}
IN_FLIGHT = {"submitting", "unconfirmed", "submitted", "running"}
MOVING = ("rerun", "resolve", "adopt")  # acts that make a move which is theirs alone


def of_one(job: Row, snapshot: Snapshot, subscriptions: Mapping[str, list[str]]) -> Iterator[str]:
    """Everything that is wrong with one job."""
    events = of_job(snapshot, "job_events", job["id"])
    tries = of_job(snapshot, "attempts", job["id"])
    yield from history(job, events)
    yield from doubts(events)
    yield from ends(events)
    yield from agenda(job, of_job(snapshot, "agenda", job["id"]))
    yield from news(job, snapshot, subscriptions)
    yield from outcomes(job, tries)
    yield from acts(job, snapshot)


def history(job: Row, events: list[dict[str, Any]]) -> Iterator[str]:
    """Versions without a gap, each move legal, and the job where the last one left it."""
    was = None
    for number, event in enumerate(events, 1):
        if event["version"] != number:
            yield f"version {number} is missing"
        if event["was"] is None:
            if number > 1 and (event["source"] != "sweep" or event["now"] != was):
                yield f"version {number} comes from nothing"
        elif event["was"] != was or State(event["now"]) not in MOVES[State(event["was"])]:
            yield f"version {number} moves from {event['was']} to {event['now']} after {was}"
        elif event["source"] == "api" and event["was"] != "queued":
            yield f"version {number} ends what may be under way, by nobody's word"
        was = event["now"]
    last = events[-1]
    for name, told in (("state", "now"), ("version", "version"), ("attempt", "attempt")):
        if job[name] != last[told]:
            yield f"its {name} is {job[name]}, and its history says {last[told]}"


def doubts(events: list[dict[str, Any]]) -> Iterator[str]:
    """Nobody takes a job from its sender while its POST may be under way."""
    for before, event in pairwise(events):
        if (event["was"], event["now"]) == ("submitting", "unconfirmed"):
            was_gone = "went away" in event["message"]
            if was_gone and event["at"] - before["at"] < LEASE:
                yield "it was taken from its sender, whose lease had not ended"


def ends(events: list[dict[str, Any]]) -> Iterator[str]:
    """One end per attempt, save a late success, and what was adopted."""
    for number in {event["attempt"] for event in events}:
        had = [
            event["now"]
            for event in events
            if event["attempt"] == number and event["was"] and State(event["now"]) in ENDED
            if (event["source"], event["now"]) != ("operator", "completed")
        ]
        if len(had) > 1 and had != ["expired", "completed"]:
            yield f"attempt {number} ended {len(had)} times: {had}"


def agenda(job: Row, left: list[dict[str, Any]]) -> Iterator[str]:
    """Something is left to do for what is open, and for nothing else; what is said there is so."""
    task = left[0]["task"] if left else None
    if task not in TASKS.get(job["state"], {None}):
        yield f"it is {job['state']}, and what is left to do is {task}"
    if left and left[0]["out_of_step"]:
        yield f"its agenda says {left[0]['out_of_step']}"


def news(job: Row, snapshot: Snapshot, subscriptions: Mapping[str, list[str]]) -> Iterator[str]:
    """Each event is told once: one place in the feed or before it, one delivery per subscriber."""
    key = job["id"]
    placed = of_job(snapshot, "feed", key)
    lined_up = Counter(row["version"] for row in (*placed, *of_job(snapshot, "unplaced", key)))
    if [row["version"] for row in placed] != sorted(row["version"] for row in placed):
        yield "its events are not in order in the feed"
    sent = Counter(
        (row["version"], row["subscription_id"]) for row in of_job(snapshot, "deliveries", key)
    )
    wanted: Counter[tuple[int, str | None]] = Counter()
    told = set()
    for event in of_job(snapshot, "job_events", key):
        kind = EVENT_TYPES.get(State(event["now"]))
        if event["was"] is None:
            kind = STUCK_EVENT if event["version"] > 1 else None
        if kind is None:
            continue
        told.add(event["version"])
        wanted.update(
            (event["version"], one) for one in subscriptions if kind in subscriptions[one]
        )
        if job["notify_hook"] and event["was"] and State(event["now"]) in ENDED:
            wanted[(event["version"], None)] += 1
    if lined_up != Counter(told):
        yield f"told are {sorted(told)}, and in the feed or before it {sorted(lined_up.items())}"
    if sent != wanted:
        yield f"deliveries: too many {sent - wanted}, too few {wanted - sent}"


def outcomes(job: Row, tries: list[dict[str, Any]]) -> Iterator[str]:
    """A verdict on the attempt that is the job's has become its end."""
    for row in tries:
        mine, outcome = row["number"] == job["attempt"], row["outcome"]
        if mine and outcome and job["state"] in IN_FLIGHT:
            yield f"it is {job['state']}, though attempt {row['number']} has {outcome}"
        if mine and outcome == "completed" and job["state"] == "expired":
            yield "it is expired, though it has completed"
        if (outcome == "completed") != bool(row["outputs"]):
            yield f"attempt {row['number']} has {outcome}, and as outputs {row['outputs']}"
    if job["state"] == "completed" and "completed" not in {
        row["outcome"] for row in tries if row["number"] == job["attempt"]
    }:
        yield "it has completed, and its attempt has not"


def acts(job: Row, snapshot: Snapshot) -> Iterator[str]:
    """Every act that moved the job is kept, with its move; every further attempt is by an act."""
    done = of_job(snapshot, "operator_actions", job["id"])
    events = of_job(snapshot, "job_events", job["id"])
    moving = [row for row in done if row["act"] in MOVING]
    moved = [event for event in events if event["source"] == "operator"]
    if len(moving) != len(moved):
        yield f"{len(moved)} moves by operators, {len(moving)} acts"
    made = [row["detail"]["to_attempt"] for row in moving if "to_attempt" in row["detail"]]
    numbers = [row["number"] for row in of_job(snapshot, "attempts", job["id"])]
    if numbers != [1, *made]:
        yield f"attempts {numbers}, and by acts {made}"
