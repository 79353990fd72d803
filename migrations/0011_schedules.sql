-- Builds without a push, at times that a rule names.

-- The schedule as JSON; null: none.
alter table rules add column schedule text;
-- When it is due next; null: never.
alter table rules add column schedule_next_at timestamptz;
create index rules_by_next_at on rules (schedule_next_at, id) where schedule_next_at is not null;
