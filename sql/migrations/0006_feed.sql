-- Whose each event is, and of which type, so that nobody walks through everybody's to find some.
alter table feed add app_id uuid, add type text;
update feed set app_id = jobs.app_id,
    type = 'job.' || case when event.was is null then 'stuck' else event.now end
from jobs, job_events as event
where jobs.id = feed.job_id and event.job_id = feed.job_id and event.version = feed.version;
delete from feed where app_id is null; -- of a job that is gone nothing can be told
alter table feed alter app_id set not null, alter type set not null;
create index feed_of_app on feed (app_id, type, place);
create index feed_of_type on feed (type, place);
