"""What the demo's jobs came to, whether that is right, and how it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.commands.demo.cases import Case
from service.commands.demo.subscriber import Event
from service.commands.tables import show_table
from service.commands.timeline import Entry
from service.job import State

HEADINGS = ("job", "state", "learnt by", "callbacks", "events", "accepted by the provider")
EXPECTED_EVENT = f"job.{State.COMPLETED}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One job as everybody saw it: Callboard (`job`, `timeline`), the subscriber (`events`), and
    the provider (`ledger`, the sandbox's entry; empty where it has none)."""

    case: Case
    job: Mapping[str, Any]
    timeline: Sequence[Entry]
    events: Sequence[Event]
    ledger: Mapping[str, Any]

    @property
    def calls(self) -> tuple[tuple[str, int | None], ...]:
        """The provider's calls, and how each was answered."""
        return tuple((call["kind"], call["status"]) for call in self.ledger.get("callbacks", ()))

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What Callboard made of the calls that name this job."""
        happened = [one for one in self.timeline if one["kind"] == "callback"]
        return tuple(one["detail"]["verdict"] for one in happened)

    @property
    def accepted(self) -> int:
        """How often the provider took it."""
        return int(self.ledger.get("accepted", 0))

    def faults(self) -> list[str]:
        """What is otherwise than it must be, in words."""
        case, events = self.case, {event.id: event.type for event in self.events}
        error = self.job["error"]
        state = f"{self.job['state']}{': ' + error['message'] if error else ''}"
        pairs = (
            ("state", str(State.COMPLETED), state),
            ("learnt by", case.learnt_by, self.job["learnt_by"]),
            ("the provider's calls and our answers", case.calls, self.calls),
            ("verdicts", case.verdicts, self.verdicts),
            ("distinct events", [EXPECTED_EVENT], list(events.values())),
            ("accepted submissions", 1, self.accepted),
        )
        return [
            f"{case.name}: {what}: {found!r}, and must be {wanted!r}"
            for what, wanted, found in pairs
            if found != wanted
        ]

    def row(self) -> tuple[object, ...]:
        """As the table shows it."""
        told = sorted({event.id for event in self.events})
        count = f"{len(told)} verified" if told else "none"
        job = self.job
        return self.case.name, job["state"], job["learnt_by"], self._told(), count, self.accepted

    def as_dict(self) -> dict[str, Any]:
        """As --json shows it."""
        return {
            "name": self.case.name,
            "job": self.job["id"],
            "model": self.case.model,
            "state": self.job["state"],
            "learnt_by": self.job["learnt_by"],
            "callbacks": [{"kind": kind, "status": status} for kind, status in self.calls],
            "verdicts": list(self.verdicts),
            "events": [{"id": event.id, "type": event.type} for event in self.events],
            "accepted": self.accepted,
            "faults": self.faults(),
        }

    def _told(self) -> str:
        """Each call with its verdict; one that names no job was only answered."""
        taken = iter(verdict for verdict in self.verdicts if verdict != "refused")
        words = [
            f"{kind}: {next(taken, 'unknown') if status == 200 else f'refused {status}'}"
            for kind, status in self.calls
        ]
        return ", ".join(words) or "none"


def show(outcomes: Sequence[Outcome]) -> None:
    """Prints the table."""
    show_table(HEADINGS, [outcome.row() for outcome in outcomes], folding="callbacks")
