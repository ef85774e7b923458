"""What the queries about endpoints and deliveries are run with, as SQL, to see their plans."""

from filled import APP

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
