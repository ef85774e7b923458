"""The next attempt of a job, which is paid for anew: whether it may be made, and the move to it."""

from service.job import State
from service.operating import Parts, by_hand, conflict
from service.store.advance import Move
from service.store.attempts import Standing


def check_model(parts: Parts, standing: Standing) -> None:
    """Raises Conflict where the provider would in all likelihood refuse the model."""
    listed = parts.catalog.find(standing.model, standing.provider)
    hint = "force it, with a reason, to send it nevertheless"
    if not listed:
        problem = f"the catalog does not list {standing.model!r}"
        raise conflict(f"{problem}; {hint}", code="unsupported_model")
    if (when := listed[0].retired_on) is not None:
        problem = f"{standing.provider} is reported to have retired {standing.model!r} on {when}"
        raise conflict(f"{problem}; {hint}", code="model_retired")


def move_to_next(standing: Standing) -> Move:
    """From where the job stands back to `queued`, with a new attempt, and so with a new token."""
    return by_hand(
        standing, State.QUEUED, to_attempt=standing.next_number, task="submit", due_in=0.0
    )


def price_of(standing: Standing) -> dict[str, str | None]:
    """What it will cost, as far as anyone knows: the estimate of the job."""
    amount = None if standing.estimate is None else f"{standing.estimate:f}"
    return {"estimate": amount, "currency": standing.currency}
