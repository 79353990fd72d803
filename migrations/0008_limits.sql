-- How much a repository's builds may use, below what the server allows; null: no less.

alter table repositories add column timeout_seconds bigint;
alter table repositories add column memory_bytes bigint;
alter table repositories add column cpu_thousandths bigint;
