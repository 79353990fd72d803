-- Organisations with their members, and who changed what.

-- Every name that is taken as a namespace, by a user or by an organisation: whoever wants one adds it here first, so that
-- two of different kinds cannot get it even at the same moment.
create table namespaces (
    name text primary key,
    kind text not null
);
insert into namespaces (name, kind) select name, 'user' from users;

create table organisations (
    id text primary key,
    name text not null unique references namespaces (name),
    display_name text not null,
    description text not null,
    -- Of a new repository that does not say.
    default_visibility text not null,
    created_at timestamptz not null
);

create table members (
    organisation_id text not null references organisations (id) on delete cascade,
    user_id text not null references users (id) on delete cascade,
    role text not null,
    since timestamptz not null,
    primary key (organisation_id, user_id)
);
create index members_by_user on members (user_id, organisation_id);

-- The namespaces whose private things a user may see: the own one, and those of the user's organisations.
create view readable_namespaces as
    select id as user_id, name as namespace from users
    union all
    select m.user_id, o.name from members m join organisations o on o.id = m.organisation_id;

create table invitations (
    id text primary key,
    organisation_id text not null references organisations (id) on delete cascade,
    -- A user's name, or an e-mail address, which has an `@`.
    invitee text not null,
    role text not null,
    -- SHA-256 of the code that was shown once.
    hash bytea not null unique,
    -- A user's name.
    invited_by text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index invitations_by_organisation on invitations (organisation_id, id);

-- Who did what. Nothing here refers to another table: it outlives what it tells of.
create table audit_log (
    id text primary key,
    at timestamptz not null,
    -- A user's name, or what was given for one.
    actor text not null,
    way text not null,
    action text not null,
    subject text not null,
    -- The namespace that it concerns, whose owners see it; empty: the whole server.
    namespace text not null,
    -- JSON, never with a secret in it.
    detail text not null,
    -- Empty where it is not known.
    address text not null
);
create index audit_log_by_namespace on audit_log (namespace, id);
create index audit_log_by_actor on audit_log (actor, id);
