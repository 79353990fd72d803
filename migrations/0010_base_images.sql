-- Base images: what was built on what, what its tags stand for now, and the waves of builds that follow when one moves.

-- The images that a successful build stood on, for as long as it holds a tag.
create table build_bases (
    build_id text not null references builds (id) on delete cascade,
    -- Fully named, with its tag.
    image text not null,
    digest text,
    -- Named by digest: it never moves.
    pinned boolean not null,
    primary key (build_id, image)
);
create index build_bases_by_image on build_bases (image, build_id);
create index published_tags_by_build on published_tags (newest_build) where newest_build is not null;

-- Images that a repository stands on and is not to be rebuilt for.
create table ignored_bases (
    repository_id text not null references repositories (id) on delete cascade,
    image text not null,
    primary key (repository_id, image)
);

-- What is watched: one row however many repositories stand on the image.
create table watched_images (
    image text not null,
    -- Whose credentials it is looked at with: of a namespace that has its own for the registry; empty: the whole server's.
    access text not null,
    registry text not null,
    -- What the tag stood for when it was last looked at; null: nobody has seen it yet.
    digest text,
    -- When this digest was first seen.
    since timestamptz,
    checked_at timestamptz,
    gone_since timestamptz,
    -- Why the last look failed.
    problem text,
    check_at timestamptz not null,
    primary key (image, access)
);
create index watched_images_due on watched_images (check_at);

-- The digests that a watched image has had.
create table image_versions (
    image text not null,
    access text not null,
    digest text not null,
    first_seen_at timestamptz not null,
    -- Digest by platform, as JSON; null: nobody has asked yet.
    platforms text,
    primary key (image, access, digest)
);

-- Rebuilds that follow from base images that moved.
create table waves (
    id text primary key,
    state text not null,
    created_at timestamptz not null,
    -- Other images that move until then join it.
    settles_at timestamptz not null,
    ended_at timestamptz,
    -- How many of its builds may be under way at once; null: as the server is set.
    at_once bigint,
    -- Who paused or canceled it last.
    steered_by text
);
create index waves_open on waves (id) where ended_at is null;
-- Whatever moves while one settles joins it.
create unique index waves_settling on waves (state) where state = 'settling';

-- The images whose new versions a wave is about, and those that its own builds pushed.
create table wave_moves (
    wave_id text not null references waves (id) on delete cascade,
    image text not null,
    -- By whose credentials it was seen; empty for what a build of the wave pushed.
    access text not null,
    from_digest text,
    to_digest text not null,
    -- The build that pushed it, where that was ours.
    parent_build text,
    -- Pushed by a build of the wave itself.
    inner_move boolean not null,
    primary key (wave_id, image, access)
);
create index wave_moves_by_image on wave_moves (image, to_digest);

-- What a wave rebuilds: a ref of a rule, as it was last built.
create table wave_items (
    id text primary key,
    wave_id text not null references waves (id) on delete cascade,
    -- Its place in the order of building.
    position bigint not null,
    repository_id text not null references repositories (id) on delete cascade,
    rule_id text not null,
    source_type text not null,
    source_name text not null,
    -- The build that is built again.
    last_build text not null,
    state text not null,
    -- Why it is in this state, where that needs a word.
    reason text not null,
    -- The build that this led to.
    build_id text,
    -- The items whose images it stands on, as a JSON array of ids.
    after_items text not null,
    unique (wave_id, repository_id, rule_id, source_type, source_name)
);
create index wave_items_by_build on wave_items (build_id) where build_id is not null;
create index wave_items_by_target on wave_items (repository_id, rule_id, source_name);

-- Builds that follow by themselves wait behind those that people wait for.
alter table builds add column class bigint not null default 0;
create index builds_in_queue on builds (class, id) where status = 'queued';

-- The platform that a worker's engine builds for by itself, such as `linux/amd64`; empty: it has not said.
alter table workers add column platform text not null default '';
