"""What the queries about endpoints, deliveries and the feed are run with, as SQL, to see their
plans."""

from filled import APP

from service.job import ALL_EVENT_TYPES

FIRST, LAST = "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
NOBODY = "00000000-0000-7000-8000-000000000009"
JOB = f"'{NOBODY}'"
AROUND = [f"'{NOBODY[:-1]}8'", f"'{NOBODY[:-1]}a'"]
KEYS = [f"array_fill({JOB}::uuid, array[200])"] * 2
OF_SUBSCRIBERS: dict[str, list[str]] = {
    "send_held": [f"'{APP}'", "null", "1000"],
    "find_event_in_feed": [f"'{APP}'", JOB],
    "count_recoverable": [f"'{APP}'", "'2023-11-15'", "null", "false", "29000", "500"],
    "continue_recovery": ["500", "60"],
    "find_deliveries": [f"'{APP}'", FIRST, LAST, "null", "null", "null", "51"],
    "find_deliveries of all": ["null", FIRST, LAST, "null", "null", "null", "51"],
    "find_deliveries of one": ["null", *AROUND, "null", "null", "null", "1"],
    "find_deliveries of an event": [f"'{APP}'", *AROUND, "null", JOB, "null", "51"],
    "find_failed_deliveries": [f"'{APP}'", FIRST, LAST, "null", "null", "51"],
    "find_failed_deliveries of all": ["null", FIRST, LAST, "null", "null", "51"],
    "find_pending_deliveries": [f"'{APP}'", FIRST, LAST, "null", "null", "false", "51"],
    "find_pending_deliveries held": ["null", FIRST, LAST, f"'{APP}'", "null", "true", "51"],
    "find_deliveries_of_job": ["null", FIRST, LAST, "null", "null", "'held'", "51", JOB],
    "show_deliveries": KEYS,
    "show_tries": [*KEYS, "10"],
    "resend_delivery": [JOB, JOB, JOB, "'somebody'"],
}
TYPES = f"'{{{','.join(ALL_EVENT_TYPES)}}}'"
OF_THE_FEED: dict[str, list[str]] = {
    "feed_after": ["29000", "50"],
    "feed_of_app": [f"'{APP}'", TYPES, "0", "30000", "51"],
    "feed_of_app nobody": [f"'{NOBODY}'", TYPES, "0", "30000", "51"],
    "feed_of_app rare": [f"'{APP}'", "'{job.stuck}'", "0", "30000", "51"],
    "feed_of_all": [TYPES, "0", "30000", "51"],
    "feed_of_all rare": ["'{job.stuck,job.failed}'", "0", "30000", "51"],
    "feed_of_job": [JOB, TYPES, "0", "30000", "51"],
    "last_of_app": [f"'{APP}'", TYPES, "30000"],
    "last_of_all": ["30000"],
    "find_in_feed": [JOB],
    "find_unplaced": [JOB],
    "events_at": [f"'{{{','.join(map(str, range(29000, 29050)))}}}'"],
    "job_is_told": [JOB, "30000"],
    "live_keys": [f"'{{{NOBODY}}}'"],
}
# Which index each goes by, so that nobody else's events are met, nor others than are wanted.
BY_INDEX = [
    *((name, "feed_of_app") for name in OF_THE_FEED if name.startswith("feed_of_app")),
    *(("last_of_app", "feed_of_app"), ("feed_of_all rare", "feed_of_type")),
    *(("feed_after", "feed_pkey"), ("feed_of_job", "feed_by_event")),
]
