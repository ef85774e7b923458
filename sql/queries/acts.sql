-- name: note_act
-- Keeps what somebody did to a job; with $8 only where that move of the job's was made. Empty: not.
insert into operator_actions (job_id, id, attempt, act, who, reason, detail, at)
select $1, $2, $3::integer, $4::text, $5::text, $6::text, $7::text::json, clock.at
from (select now() as at) as clock
where $8::uuid is null or exists (select from job_events where job_id = $1 and id = $8)
on conflict do nothing
returning id;
