-- Looks at sources, for pushes that no webhook told of.

create table polls (
    repository_id text primary key references repositories (id) on delete cascade,
    -- When it is to be looked at next.
    next_at timestamptz not null,
    -- Until when somebody is looking; null: nobody is.
    claimed_until timestamptz,
    -- The last look, and what went wrong with it.
    last_at timestamptz,
    problem text,
    -- In a row.
    failures bigint not null default 0,
    -- The last look that saw something; null: none has yet.
    seen_at timestamptz,
    -- What it looked for: the source's address, and what of the rules decides about refs, as a JSON array.
    source text not null default '',
    rules text not null default '[]'
);
create index polls_by_next_at on polls (next_at, repository_id);
insert into polls (repository_id, next_at) select id, updated_at from repositories;

-- The branches and tags that it saw, those alone that rules build.
create table seen_refs (
    repository_id text not null references repositories (id) on delete cascade,
    -- In full: refs/heads/main.
    name text not null,
    commit_sha text not null,
    primary key (repository_id, name)
);

-- What looks found of a ref, for webhooks that come late.
create index builds_of_polls on builds (repository_id, rule_id, source_name, source_type, id) where cause_kind = 'poll';
