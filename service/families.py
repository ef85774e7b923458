"""The metrics by name: what is counted and measured, as Prometheus knows it. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from service.alarm import Alarm
from service.store.gauges import COUNTED, Backlog, Gauges, Manner, Risk, Work
from service.tally import Tally

Samples = Iterable[tuple[tuple[str | None, ...], float]]
NAME = "callboard"
MOST = f"Counted up to {COUNTED}."


def process(queues: Mapping[str, int], *, database_up: bool) -> Iterator[Metric]:
    """How this process is; `queues` is what waits in it, by the queue's name."""
    yield _gauge("build_info", "Which Callboard it is.", ("version",), [((version(NAME),), 1)])
    yield _gauge(
        "queue_items",
        "What waits in this process.",
        ("queue",),
        [((name,), count) for name, count in queues.items()],
    )
    yield _gauge("database_up", "Whether the database answered.", (), [((), database_up)])


def counted(tally: Tally) -> Iterator[Metric]:
    """What this process has done."""
    outcomes = tally.outcomes.items()
    yield _counter(
        "callbacks",
        "Calls to the providers' door that were stored, by what became of them.",
        ("provider", "verdict", "reason"),
        [((of, verdict, reason), n) for (_, of, verdict, reason, _), n in outcomes if of],
    )
    yield _counter(
        "moves",
        "Jobs' moves to another state, by who told.",
        ("state", "source"),
        [((state, source), n) for (source, *_, state), n in outcomes if state],
    )
    yield _counter(
        "submits",
        "Jobs sent to providers, by how that went.",
        ("provider", "outcome"),
        tally.submits.items(),
    )
    yield _counter(
        "polls", "Questions after jobs, by the answer.", ("provider", "result"), tally.polls.items()
    )
    yield _counter(
        "delivery_tries",
        "Events sent to subscribers, by what became of the delivery.",
        ("outcome",),
        [((outcome,), n) for outcome, n in tally.tries.items()],
    )


def refused(alarm: Alarm) -> Iterator[Metric]:
    """What of the calls that were not taken nobody kept, and what open jobs may have missed."""
    labels = ("provider", "reason")
    yield _counter(
        "callbacks_dropped",
        "Calls that were not taken, and that were too many to be kept.",
        labels,
        alarm.dropped.items(),
    )
    yield _counter(
        "callbacks_missed",
        "Calls about open jobs that were not taken.",
        labels,
        alarm.of_open_jobs.items(),
    )


def measured(now: Gauges) -> Iterator[Metric]:
    """What waits in the database."""
    yield from _work(now.work)
    yield from _manners(now.manners)
    yield from _risks(now.risks)
    yield from _backlog(now.backlog)


def _work(work: Iterable[Work]) -> Iterator[Metric]:
    labels = ("provider", "task")
    yield _gauge(
        "open_jobs",
        f"Jobs with something left to do, by what. {MOST}",
        labels,
        [((one.provider, one.task), one.jobs) for one in work],
    )
    yield _gauge(
        "overdue_seconds",
        "How long the most overdue of them has been due.",
        labels,
        [((one.provider, one.task), one.overdue) for one in work],
    )


def _manners(manners: Iterable[Manner]) -> Iterator[Metric]:
    yield _gauge(
        "provider_paused",
        "Whether nothing is submitted to the provider for now.",
        ("provider",),
        [((one.provider,), one.paused) for one in manners],
    )
    yield _gauge(
        "provider_silent",
        "Whether the provider used to call back, and does not.",
        ("provider",),
        [((one.provider,), one.silent) for one in manners],
    )


def _risks(risks: Iterable[Risk]) -> Iterator[Metric]:
    labels = ("provider", "currency")
    yield _gauge(
        "unconfirmed_jobs",
        "Jobs that were sent and whose outcome nobody knows.",
        labels,
        [((one.provider, one.currency), one.jobs) for one in risks],
    )
    yield _gauge(
        "money_at_risk",
        "The estimates of these jobs, in units of the currency.",
        labels,
        [
            ((one.provider, one.currency), float(one.estimate))
            for one in risks
            if one.estimate is not None
        ],
    )


def _backlog(backlog: Backlog) -> Iterator[Metric]:
    yield _gauge(
        "unplaced_events", f"Events that nobody can read yet. {MOST}", (), [((), backlog.unplaced)]
    )
    yield _gauge(
        "deliveries",
        f"Deliveries that are due, and of those the ones held by a disabled endpoint. {MOST}",
        ("state",),
        [(("due",), backlog.due), (("held",), backlog.held)],
    )
    yield _gauge(
        "deliveries_overdue_seconds",
        "How long the oldest delivery that is not held has been due.",
        (),
        [((), backlog.overdue)],
    )


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"callboard_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric([value or "" for value in values], number)
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    """Samples with the same labels are added up."""
    sums: dict[tuple[str, ...], float] = {}
    for values, number in samples:
        key = tuple(value or "" for value in values)
        sums[key] = sums.get(key, 0) + number
    family = CounterMetricFamily(f"callboard_{name}", text, labels=labels)
    for key, number in sums.items():
        family.add_metric(list(key), number)
    return family
