-- Repositories as people find and read them: stars, contributions, documents, and what is known of each tag.

-- `stars` is counted whenever one is given or taken, so that lists in this order are read along an index.
-- `search_text` is what filters look into: the beginning of it all in lower case, short enough for an index.
alter table repositories add column stars bigint not null default 0;
alter table repositories add column pulls bigint not null default 0;
alter table repositories add column search_text text not null default '';
update repositories set search_text = substr(lower(namespace || '/' || name || ' ' || description), 1, 500);
-- With all that lists select by: a filter that finds little is held against the index alone.
create index repositories_by_rank
    on repositories (stars desc, pulls desc, namespace, name, visibility, search_text);

create table stars (
    user_id text not null references users (id) on delete cascade,
    repository_id text not null references repositories (id) on delete cascade,
    starred_at timestamptz not null,
    primary key (user_id, repository_id)
);
create index stars_by_repository on stars (repository_id);

-- Who triggered, retried or changed something in a repository, and when last.
create table contributions (
    user_id text not null references users (id) on delete cascade,
    repository_id text not null references repositories (id) on delete cascade,
    last_at timestamptz not null,
    primary key (user_id, repository_id)
);
create index contributions_by_repository on contributions (repository_id);

-- The README and the Dockerfile of the successful build that has the newest place in the order of pushes, as JSON.
create table repository_documents (
    repository_id text primary key references repositories (id) on delete cascade,
    push_order text not null,
    build_id text not null,
    readme text,
    dockerfile text
);

-- What was pushed under a tag: by whose build, when, as what. `image_bytes` is the size in the engine, unpacked.
alter table published_tags add column repository_id text;
alter table published_tags add column digest text;
alter table published_tags add column image_bytes bigint;
alter table published_tags add column pushed_at timestamptz;
update published_tags set
    repository_id = (select repository_id from builds where id = newest_build),
    digest = (select digest from builds where id = newest_build),
    pushed_at = (select coalesce(finished_at, started_at, queued_at) from builds where id = newest_build)
where newest_build is not null;
create index published_tags_by_repository on published_tags (repository_id, pushed_at, image, tag)
    where repository_id is not null;

-- With the repository, so that the last builds in a state are told apart by it without being read.
drop index builds_by_status;
create index builds_by_status on builds (status, id, repository_id);
