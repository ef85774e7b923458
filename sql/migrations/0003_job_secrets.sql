-- What a job's input holds in secret, as an encrypted JSON object; the input itself has *** there.
-- A table of its own: whoever reads jobs, here or in psql, has no use for it.
create table job_secrets (
    job_id uuid  primary key constraint secrets_belong_to_job references jobs,
    stored bytea not null
);
