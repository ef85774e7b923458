-- What is due is found at the cost of what is due, whatever is open beside it or has ended.

-- One queue for each provider's each task: none is passed over on the way to another.
drop index agenda_submits_due, agenda_asks_due, agenda_unconfirmed;
create index agenda_due on agenda (provider, task, due_at);
-- Unconfirmed jobs, whose money may be lost: few, and listed newest first.
create index agenda_unconfirmed on agenda (job_id) where task = 'give_up';

-- When the attempt is overdue; null: nobody counts its time. A job that is overdue is due, or its
-- next look comes after the deadline. The second kind has this index. A job in time is hardly ever in
-- it, so that its polls, which move due_at, pay nothing for it.
alter table agenda add overdue_at timestamptz;
update agenda set overdue_at = jobs.posted_at + make_interval(secs => jobs.deadline_seconds)
from jobs where jobs.id = agenda.job_id and agenda.task in ('sending', 'poll', 'give_up');
create index agenda_overdue on agenda (overdue_at) where due_at > overdue_at;

-- Which tasks each provider has on the agenda, from one to the next by the index: the jobs between
-- are not met.
create view tasks_at_hand as
with recursive head as (
    (select provider, task from agenda order by provider, task limit 1)
    union all
    select next.provider, next.task
    from head cross join lateral (
        select provider, task from agenda
        where (agenda.provider, agenda.task) > (head.provider, head.task)
        order by agenda.provider, agenda.task limit 1) as next
)
select provider, task from head;

-- Jobs that ended otherwise than well, found by the events of their ends: an index on jobs.state
-- would keep every move from staying within its page, and events are only ever added.
create index ends_without_result on job_events (now, job_id, version)
    where now in ('failed', 'canceled', 'expired');

-- Ascending both, so that a page lies between two rows: however many jobs an app has beside others',
-- there is one way to it.
create index jobs_of_app on jobs (app_id, id);
drop index jobs_of_app_newest_first;
