-- One set of tables for SQLite and PostgreSQL. Ids are texts made by the program, ordered by time. Secrets are stored
-- sealed (bytea); times are UTC. JSON is kept as text: it is read whole, never queried.

-- Facts about this installation, such as the proof that the key file is the one that sealed the secrets.
create table installation (
    name text primary key,
    value bytea not null
);

-- People.
create table users (
    id text primary key,
    name text not null unique,
    password_hash text not null,
    is_admin boolean not null,
    created_at timestamptz not null
);

-- API tokens, as SHA-256 of what was shown once.
create table tokens (
    id text primary key,
    user_id text not null references users (id) on delete cascade,
    label text not null,
    hash bytea not null unique,
    created_at timestamptz not null,
    expires_at timestamptz
);

-- Image repositories, each with its source and its webhook.
create table repositories (
    id text primary key,
    namespace text not null,
    name text not null,
    visibility text not null,
    description text not null,
    -- As configured; null: the default registry and namespace/name.
    image text,
    provider text not null,
    source_url text not null,
    source_account text,
    submodules boolean not null,
    source_credentials bytea,
    hook_id text not null unique,
    webhook_secret bytea not null,
    detect_base_images boolean not null,
    next_number bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (namespace, name)
);

-- Build rules, in the order in which they were written.
create table rules (
    id text primary key,
    repository_id text not null references repositories (id) on delete cascade,
    position bigint not null,
    source_type text not null,
    source text not null,
    docker_tag text not null,
    dockerfile text not null,
    context text not null,
    autobuild boolean not null,
    cache boolean not null,
    target text not null,
    platforms text not null,
    build_args text not null
);
create index rules_by_repository on rules (repository_id, position);

-- Base images linked by hand, fully named.
create table links (
    repository_id text not null references repositories (id) on delete cascade,
    image text not null,
    primary key (repository_id, image)
);

-- Values for `RUN --mount=type=secret`.
create table build_secrets (
    repository_id text not null references repositories (id) on delete cascade,
    name text not null,
    value bytea not null,
    primary key (repository_id, name)
);

-- Credentials for registries; the empty namespace stands for the whole server.
create table registries (
    id text primary key,
    namespace text not null,
    host text not null,
    username text not null,
    password bytea not null,
    trusted_realms text not null,
    hook_id text not null unique,
    hook_secret bytea not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (namespace, host)
);

-- The ledger: every webhook, poll and click, with what became of it.
create table deliveries (
    id text primary key,
    repository_id text not null references repositories (id) on delete cascade,
    provider text not null,
    event text not null,
    -- The forge's own id; null for polls, clicks and replays.
    delivery_id text,
    -- SHA-256 of a push's body; null for everything else.
    body_hash bytea,
    content_type text,
    received_at timestamptz not null,
    source_name text,
    commit_sha text,
    outcome text not null,
    reason text not null,
    -- The delivery that this one repeats, by its id or its body.
    repeats text,
    -- Ids of the builds it led to, or that it repeats, as a JSON array.
    builds text not null
);
create index deliveries_by_repository on deliveries (repository_id, id);
create unique index deliveries_once on deliveries (repository_id, delivery_id)
    where delivery_id is not null and repeats is null;
create index deliveries_by_body on deliveries (repository_id, body_hash)
    where body_hash is not null and repeats is null;

-- Bodies of webhooks, compressed (zstd), apart from the rows that are searched.
create table delivery_bodies (
    delivery_id text primary key references deliveries (id) on delete cascade,
    body bytea not null
);

-- Builds, which are also the queue.
create table builds (
    id text primary key,
    repository_id text not null references repositories (id) on delete cascade,
    number bigint not null,
    -- The rule's id; the rule itself may be gone by now.
    rule_id text not null,
    status text not null,
    phase text,
    cause text not null,
    source_type text not null,
    source_name text not null,
    -- Null until the worker has resolved the ref.
    commit_sha text,
    commit_message text,
    plan text not null,
    -- The id of the build whose place in the order of pushes this one has: its own, or the retried one's.
    push_order text not null,
    digest text,
    base_images text not null,
    steps text not null,
    superseded_by text,
    error_kind text,
    error_message text,
    queued_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    -- The lease: who builds, until when.
    worker_id text,
    leased_until timestamptz,
    -- How often it was claimed. Never goes back, unlike `attempt`: every write of a worker names it.
    fence bigint not null,
    -- The attempts that count towards the limit.
    attempt bigint not null,
    -- Not to be claimed before; set while a fault is given time to pass.
    not_before timestamptz,
    cancel_requested boolean not null,
    log_size bigint not null,
    log_sealed boolean not null,
    unique (repository_id, number)
);
create index builds_by_status on builds (status, id);
create index builds_by_ref on builds (repository_id, rule_id, source_name, source_type, id)
    where status in ('queued', 'running');
create index builds_by_repository on builds (repository_id, id);
create index builds_unsealed on builds (id)
    where not log_sealed and status not in ('queued', 'running');

-- The log of a build until it is sealed, in pieces; `position` counts bytes from its beginning.
create table log_chunks (
    build_id text not null references builds (id) on delete cascade,
    position bigint not null,
    bytes bytea not null,
    primary key (build_id, position)
);

-- Which build holds a tag: no older one may overwrite it, and only one pushes it at a time.
create table published_tags (
    image text not null,
    tag text not null,
    newest_order text,
    newest_build text,
    pushing_build text,
    -- Which claim of that build.
    pushing_fence bigint,
    primary key (image, tag)
);

-- Processes that build.
create table workers (
    id text primary key,
    name text not null,
    concurrency bigint not null,
    started_at timestamptz not null,
    last_seen_at timestamptz not null
);
