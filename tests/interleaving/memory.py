"""What only a look back shows, and everything that is checked after a step."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from interleaving import books, truths
from interleaving.fal import Fal
from interleaving.tables import Snapshot, of_job
from interleaving.truths import Row
from interleaving.world import World

Key = tuple[str, int]  # an attempt: its job's id, its number


@dataclass(eq=False)
class Memory:
    """Each attempt as it was before, the acts that were seen, and attempts that were replaced since
    nothing was ever to come of them."""

    attempts: dict[Key, Row] = field(default_factory=dict)
    acted: set[str] = field(default_factory=set)
    closed: set[Key] = field(default_factory=set)

    def check(self, world: World, snapshot: Snapshot) -> None:
        """Raises AssertionError with everything that is wrong now."""
        wrong = [f"fault: {fault}" for fault in (*world.faults, *world.complaints.said)]
        for line in world.stage.lines.values():
            wrong += [f"Postgres refused {name}: {why}" for name, why in line.refusals]
        for job in snapshot["jobs"]:
            found = truths.of_one(job, snapshot, world.subscriptions)
            wrong += [f"{world.name(job['id'])}: {problem}" for problem in found]
        wrong += books.deeds(world.deeds, snapshot["operator_actions"])
        wrong += books.words(world.words, snapshot["attempts"])
        wrong += books.payments(world.stage.fal, snapshot)
        wrong += self._kept(snapshot)
        wrong += self._replaced(world.stage.fal, snapshot)
        assert not wrong, "\n".join(wrong)

    def _kept(self, snapshot: Snapshot) -> Iterator[str]:
        """No verdict is lost or overwritten, save by a late success or by what was adopted."""
        for row in snapshot["attempts"]:
            key = (row["job_id"], row["number"])
            before = self.attempts.get(key, row)
            self.attempts[key] = row
            for name in ("provider_id", "cancel_answer", "disagreement", "outcome"):
                if not before[name] or row[name] == before[name]:
                    continue
                if name == "disagreement" and row[name]:
                    continue
                if name == "outcome" and _took_success(row, snapshot):
                    continue
                yield f"the {name} of attempt {key} was {before[name]}, is {row[name]}"

    def _replaced(self, fal: Fal, snapshot: Snapshot) -> Iterator[str]:
        """What was replaced without force has ended, by the provider's word, or never began."""
        for job_id, number in self.closed:
            if fal.of(job_id, number) is not None:
                yield f"attempt {number} was not alive, and is now"
        acts = snapshot["operator_actions"]
        ended = {(row["job_id"], row["number"]) for row in snapshot["attempts"] if row["outcome"]}
        denied = {
            (act["job_id"], act["attempt"])
            for act in acts
            if act["detail"].get("as") == "not_accepted"
        }
        for act in acts:
            if act["id"] in self.acted or act["act"] not in ("rerun", "adopt"):
                continue
            self.acted.add(act["id"])
            for key in set(_replaced_by(act, snapshot)) - denied:
                render = fal.of(*key)
                if render is None:
                    self.closed.add(key)
                elif not render.told and not (render.called and key in ended):
                    yield f"{act['act']}: attempt {key} is alive as {render.id}"


def _took_success(row: Row, snapshot: Snapshot) -> bool:
    """Whether an attempt's outcome changed as it may: to a success, late or adopted."""
    return row["outcome"] == "completed" and any(
        event["attempt"] == row["number"]
        and event["now"] == "completed"
        and (event["was"] == "expired" or event["source"] == "operator")
        for event in of_job(snapshot, "job_events", row["job_id"])
    )


def _replaced_by(act: Row, snapshot: Snapshot) -> Iterator[Key]:
    """The attempts for which an act put another, and was not forced to."""
    if act["detail"]["forced"]:
        return
    if act["act"] == "rerun":
        yield act["job_id"], act["attempt"]
        return
    for row in of_job(snapshot, "attempts", act["job_id"]):
        if row["number"] > act["attempt"]:
            yield act["job_id"], row["number"]
