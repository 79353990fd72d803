-- Who people are at an OpenID Connect provider, and the mail that waits to be sent.

-- A subject is one person's at its issuer, for good. The address is what the provider said last, to be shown alone.
create table identities (
    id text primary key,
    user_id text not null references users (id) on delete cascade,
    issuer text not null,
    subject text not null,
    email text not null,
    linked_at timestamptz not null,
    last_used_at timestamptz not null,
    unique (issuer, subject)
);
create index identities_by_user on identities (user_id, id);

-- Of which builds a person wants to be told.
alter table users add column notify text not null default 'mine';

-- Mail about builds that ended, one for each of those who want it. Added with the end itself, removed once it was taken.
create table outbox (
    build_id text not null references builds (id) on delete cascade,
    user_id text not null references users (id) on delete cascade,
    -- What there is to tell.
    news text not null,
    attempts bigint not null,
    not_before timestamptz not null,
    primary key (build_id, user_id)
);
create index outbox_by_time on outbox (not_before);
create index outbox_by_user on outbox (user_id);
