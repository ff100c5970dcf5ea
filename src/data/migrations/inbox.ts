/** The inbox's table, version 1: one row for each event that a consumer has handled in this database by `ctx.tx`. */
export const INBOX_POSTGRES: string = `
create table millrace.inbox (
  consumer text not null,
  channel text not null,
  id text not null,
  name text not null,
  at timestamptz not null default now()
);
-- An id may be longer than an entry of an index.
create unique index inbox_handled on millrace.inbox (consumer, channel, md5(id), md5(name));
create index inbox_at on millrace.inbox using brin (at);
`

export const INBOX_SQLITE: readonly string[] = [
  `create table millrace_inbox (
  consumer text not null,
  channel text not null,
  id text not null,
  name text not null,
  at_ms integer not null,
  primary key (consumer, channel, id, name)
) without rowid`,
  'create index millrace_inbox_at on millrace_inbox (at_ms)',
]
