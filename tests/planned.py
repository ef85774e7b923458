"""What the queries are run with, as SQL, to see their plans; and the indexes that they go by."""

from filled import APP, OTHER_APP

from service.job import ALL_EVENT_TYPES

FIRST, LAST = "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
NOBODY = "00000000-0000-7000-8000-000000000009"
JOB = f"'{NOBODY}'"
AROUND = [f"'{NOBODY[:-1]}8'", f"'{NOBODY[:-1]}a'"]
KEYS = [f"array_fill({JOB}::uuid, array[200])"] * 2
ANY = ["null"] * 5
MOST = ["10000", "51"]


def of_state(state: str) -> list[str]:
    """What a list is to match."""
    return [f"'{state}'", *ANY[1:]]


OF_JOBS: dict[str, list[str]] = {
    "find_jobs": [f"'{APP}'", FIRST, LAST, *ANY, *MOST],
    "find_jobs of nobody": [JOB, FIRST, LAST, *ANY, *MOST],
    "find_jobs of a state": [f"'{APP}'", FIRST, LAST, *of_state("submitted"), *MOST],
    "find_jobs of a rare state": [f"'{APP}'", FIRST, LAST, *of_state("failed"), *MOST],
    "find_jobs_of_everyone": ["null", FIRST, LAST, *ANY, *MOST],
    "find_jobs_of_everyone of a rare state": ["null", FIRST, LAST, *of_state("failed"), *MOST],
    "find_jobs_of_reference": [
        *(f"'{APP}'", FIRST, LAST, "null", "null", "null", "'order-3'", "null", *MOST)
    ],
    "find_jobs_at_hand": [f"'{APP}'", FIRST, LAST, *of_state("submitted"), *MOST, "'{poll}'"],
    "find_jobs_at_hand few": [
        *(f"'{APP}'", FIRST, LAST, *of_state("submitting"), *MOST, "'{sending}'")
    ],
    "find_jobs_at_hand of everyone": [
        *("null", FIRST, LAST, *of_state("queued"), *MOST, "'{submit}'")
    ],
    "find_jobs_without_result": [f"'{APP}'", FIRST, LAST, *of_state("failed"), *MOST],
    "find_jobs_without_result of everyone": ["null", FIRST, LAST, *of_state("expired"), *MOST],
    "find_jobs_in_need": [f"'{APP}'", FIRST, LAST, *ANY, *MOST, "true"],
    "find_jobs_in_need of everyone": ["null", FIRST, LAST, *ANY, *MOST, "false"],
    "show_jobs": [f"array_fill({JOB}::uuid, array[51])", "null"],
}
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
# The ids of a quarter of an hour, some 800 jobs.
SOON, LATER = (f"'{(1700000000000 + n * 1000) << 80:032x}'" for n in (200, 1000))
CALLS = [FIRST, LAST, "4096"]
RUNS: dict[str, list[str]] = (
    OF_JOBS
    | OF_SUBSCRIBERS
    | OF_THE_FEED
    | {
        "find_key": ["sha256('7')"],
        "find_idempotent": [f"'{APP}'", "'key-5'"],
        "get_job": [JOB],
        "find_event": [JOB, JOB],
        "timeline_of_job": [JOB],
        "get_callback": [JOB],
        "list_callbacks": [*CALLS, "null", "null", "null", "51"],
        "list_callbacks of a verdict": [*CALLS, "'fal'", "'accepted'", "null", "51"],
        "list_unwelcome_callbacks": [*CALLS, "null", "'refused'", "null", "51"],
        "list_unwelcome_callbacks of a reason": [*CALLS, "null", "null", "'unknown_job'", "51"],
        "list_callbacks_of_job": [*CALLS, "null", "null", "null", "51", JOB, f"'{APP}'"],
        "list_callbacks_of_app": [*CALLS, "null", "null", "null", "51", f"'{APP}'"],
        "list_callbacks_of_app of few": [*CALLS, "null", "null", "null", "51", f"'{OTHER_APP}'"],
        "list_callbacks_of_app of nobody": [*CALLS, "null", "null", "null", "51", JOB],
        "list_unwelcome_callbacks_of_app": [*CALLS, "null", "'refused'", "null", "51", f"'{APP}'"],
        "find_meant": ["'fal'", "'req-5'", JOB, "1"],
        "waiting_callbacks": ["'fal'", "'req-of-nobody-2000'", "100"],
        "callbacks_whose_job_came": ["100"],
        "forget_callbacks": ["604800", "500"],
        "refusals_of_open_jobs": ["3600"],
        "find_attempt": ["'fal'", "'req-5'"],
        "list_subscriptions": [f"'{APP}'", FIRST, "51"],
        "claim_submits": ["60", "'{fal,relay}'", "'{32,1}'", "'{20,null}'"],
        "claim_asks": ["60", "'{fal,relay}'", "'{32,1}'", "'{poll,late}'"],
        "claim_asks in doubt": ["60", "'{fal,relay}'", "'{32,32}'", "'{sending,give_up}'"],
        "rooms": ["'{}'", "0"],
        "rooms counted": ["'{fal,relay}'", "10000"],
        "try_providers": [],
        "watch_job": [JOB, "50", "3"],
        "request_cancel": [JOB, "1", JOB, "'key_1'", "null", "'{}'"],
        "hasten_poll": [JOB],
        "note_act": [JOB, JOB, "1", "'rerun'", "'key_1'", "null", "'{}'", JOB],
        "tell_act": [JOB, JOB, "'{}'"],
        "standing_of_job": [JOB],
        "note_poll": [JOB, JOB, "1", "5", "'running'", "null", "null"],
        "name_late": [JOB, "1", "'req-5'", "60", JOB, "'key_1'", "null", "'{}'"],
        "refresh_output": [JOB, "1", "'{}'", "'[]'"],
        "take_success": [JOB, "1", JOB, "'{}'", "'[]'", "'2026-01-31'"],
        "answer_cancel": [JOB, "1", "'requested'"],
        "tell_stuck": [JOB, "3", JOB],
        "finish_asks": [
            *(f"'{{{NOBODY}}}'", "'{1}'", "'{1}'", "'{5}'", f"'{{{NOBODY}}}'", "'{3}'"),
            *("'{running}'", "'{null}'", "'{null}'", "3"),
        ],
        "delay_submit": [JOB, "1", "5"],
        "claim_deliveries": ["64", "30", f"'{{{APP}}}'", "'{1}'", "32", "2", "16"],
        "claim_staged": [f"'{{{NOBODY}}}'", "64", "30", "32", "'{}'", "'{}'"],
        "finish_deliveries": [
            *(f"'{{{NOBODY},{NOBODY}}}'", f"'{{{NOBODY},{NOBODY}}}'", "'{1,1}'"),
            *("'{succeeded,pending}'", "'{200,500}'", "'{3,3}'", "'{null,null}'", "'{null,null}'"),
            *("'{0,5}'", "'{false,false}'", "'{0,0}'", "432000"),
        ],
        "place_events": ["60"],
        "note_reading": ["10"],
        "reconcile": [f"'{APP}'", SOON, LATER, "600", "''", "''", "51"],
        "reconcile of all apps": ["null", SOON, LATER, "600", "''", "''", "51"],
        "count_stranger_calls": [FIRST, LAST],
        "look_for_silence": ["'{fal,relay}'", "5", "600"],
        "measure_work": ["10000"],
        "measure_risk": [],
        "measure_backlog": ["10000"],
    }
)
# Which index each goes by, so that nobody else's events are met, nor others than are wanted.
BY_INDEX = [
    *((name, "feed_of_app") for name in OF_THE_FEED if name.startswith("feed_of_app")),
    *(("last_of_app", "feed_of_app"), ("feed_of_all rare", "feed_of_type")),
    *(("feed_after", "feed_pkey"), ("feed_of_job", "feed_by_event")),
]
# All the indexes that each goes by, so that it passes over nothing that it does not want.
DUE, KEYS_OF_JOBS = {"agenda_due", "agenda_pkey"}, {"jobs_pkey"}
# By these or read whole, as Postgres likes: there is never much in them.
KEYS_OF_SMALL_TABLES = {"provider_health_pkey", "job_secrets_pkey"}
BY_INDEXES: dict[str, set[str]] = {
    "claim_submits": DUE | KEYS_OF_JOBS,
    "claim_asks": DUE,
    "finish_asks": {"agenda_pkey"},
    "rooms": {"agenda_due"},
    "rooms counted": {"agenda_due"},
    "measure_work": {"agenda_due"},
    "measure_risk": {"agenda_unconfirmed"} | KEYS_OF_JOBS,
    "find_jobs": {"jobs_of_app"},
    "find_jobs of nobody": {"jobs_of_app"},
    "find_jobs_of_everyone": KEYS_OF_JOBS,
    "find_jobs_of_reference": {"jobs_by_reference"},
    "find_jobs_at_hand": DUE | KEYS_OF_JOBS,
    "find_jobs_without_result": {"ends_without_result"} | KEYS_OF_JOBS,
    "find_jobs_in_need": {"agenda_due", "agenda_overdue", "agenda_unconfirmed"} | KEYS_OF_JOBS,
}
