-- Builds and deliveries are found by what their lists can be narrowed to.

-- The kind of `cause`, in a column of its own.
alter table builds add column cause_kind text not null default '';
update builds set cause_kind = case
    when cause like '{"kind":"push"%' then 'push'
    when cause like '{"kind":"manual"%' then 'manual'
    when cause like '{"kind":"create"%' then 'create'
    when cause like '{"kind":"retry"%' then 'retry'
    else '' end;

create index builds_by_repository_status on builds (repository_id, status, id);
create index builds_by_repository_source on builds (repository_id, source_name, id);
create index builds_by_repository_cause on builds (repository_id, cause_kind, id);
create index builds_by_rule on builds (rule_id, id);
create index builds_by_source on builds (source_name, id);
create index builds_by_cause on builds (cause_kind, id);

create index deliveries_by_outcome on deliveries (repository_id, outcome, id);
