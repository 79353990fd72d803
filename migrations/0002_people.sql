-- Who people are, how they are signed in, and what their tokens may do.

alter table users add column full_name text not null default '';
alter table users add column about text not null default '';
alter table users add column email text not null default '';
alter table users add column website text not null default '';
-- Of a new repository in the namespace that bears the user's name.
alter table users add column default_visibility text not null default 'public';

-- The most that a token may do, whatever its owner's role.
alter table tokens add column scope text not null default 'admin';
alter table tokens add column last_used_at timestamptz;
create index tokens_by_user on tokens (user_id, id);

-- Browsers that are signed in, as SHA-256 of their cookie's value.
create table sessions (
    id text primary key,
    user_id text not null references users (id) on delete cascade,
    hash bytea not null unique,
    created_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- The end even of one that is used all the time.
    expires_at timestamptz not null,
    -- From where and with what it was made, for its owner to recognise it.
    address text not null,
    user_agent text not null
);
create index sessions_by_user on sessions (user_id, id);
