-- Path filters: which changed files make a push build.

-- Patterns, as a JSON array; empty: every push builds.
alter table rules add column paths text not null default '[]';

-- What the branch pointed to before the push, zeros for nothing; null: the build runs whatever was changed.
alter table builds add column before_sha text;
-- Why it was skipped, or which changed file made it build; for a person to read.
alter table builds add column status_reason text;
-- What a branch was last built from.
create index builds_succeeded on builds (rule_id, source_name, source_type, push_order, id) where status = 'succeeded';
