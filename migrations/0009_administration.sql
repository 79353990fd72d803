-- What administrators steer: who may come in, which machines build, what is cleaned up, and the settings of the server.

-- Who is shut out keeps what is theirs.
alter table users add column disabled boolean not null default false;

-- A paused worker finishes what it does and takes nothing new.
alter table workers add column paused boolean not null default false;
-- What it last found on its disk and in its engine, as JSON; empty: it has not looked yet.
alter table workers add column disk text not null default '';

-- Clean-ups that were asked for, each carried out by one worker.
create table clean_ups (
    id text primary key,
    worker_id text not null,
    kind text not null,
    requested_by text not null,
    requested_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    -- What came of it, for a person to read.
    result text not null
);
create index clean_ups_waiting on clean_ups (worker_id, id) where finished_at is null;

-- Settings that are changed while the server runs; what is not here is as the program has it.
create table instance_settings (
    name text primary key,
    value text not null
);
