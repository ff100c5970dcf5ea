/**
 * The outbox's tables in SQLite, version 1. SQLite has one writer at a time, so `seq` is in the order of the commits.
 * `autoincrement` gives no number twice.
 */
export const OUTBOX_SQLITE: readonly string[] = [
  `create table millrace_outbox (
  seq integer primary key autoincrement,
  channel text not null,
  id text not null,
  type text not null,
  key text,
  due_ms integer,
  event text not null,
  put_ms integer not null default (cast((julianday('now') - 2440587.5) * 86400000 as integer))
)`,
  `create table millrace_outbox_relay (
  one integer primary key check (one = 1),
  owner text,
  until_ms integer not null default 0,
  fence integer not null default 0,
  seq integer not null default 0
)`,
  'insert into millrace_outbox_relay (one) values (1)',
  `create table millrace_outbox_held (
  n integer primary key autoincrement,
  state text not null check (state in ('retry', 'behind', 'dead')),
  channel text not null,
  id text not null,
  type text not null,
  key text,
  due_ms integer,
  event text not null,
  put_ms integer not null,
  attempts integer not null default 0,
  next_ms integer,
  failed_ms integer,
  code text,
  message text
)`,
  'create index millrace_outbox_held_keys on millrace_outbox_held (channel, key, n)',
]
