/** The tables that this room needs in a user's database: as a script to read and run, or run here. */
import { MillraceError } from '../../base/errors.ts'
import { shown } from '../../base/shown.ts'
import { databaseOf } from '../../sql/handle-of.ts'
import type { SqlDialect, SqlHandle } from '../../sql/sql-handle.ts'
import { OUTBOX_POSTGRES } from './outbox-postgres.ts'
import { OUTBOX_SQLITE } from './outbox-sqlite.ts'

/** Postgres: one statement, so that it is done as a whole or not at all. Each runs any number of times. */
const POSTGRES = `do $millrace$
begin
-- One process at a time.
perform pg_advisory_xact_lock(1835167598, 0);
create schema if not exists millrace;
create table if not exists millrace.migrations (
  part text not null,
  version integer not null,
  at timestamptz not null default now(),
  primary key (part, version)
);
if not exists (select 1 from millrace.migrations where part = 'outbox' and version = 1) then
${OUTBOX_POSTGRES}
insert into millrace.migrations (part, version) values ('outbox', 1);
end if;
end
$millrace$`

const SQLITE_VERSIONS = `create table if not exists millrace_migrations (
  part text not null,
  version integer not null,
  at text not null default current_timestamp,
  primary key (part, version)
)`
const SQLITE_RECORD = "insert into millrace_migrations (part, version) values ('outbox', 1)"

/**
 * The script that makes the tables of the outbox, to read it, or to run it with other tools. For Postgres it may run
 * any number of times; for SQLite once.
 *
 * @throws INVALID_OPTION when the dialect is not one of the two
 * @example
 * ```ts
 * import { migrationScript } from 'millrace/data'
 *
 * migrationScript('postgres').includes('create table millrace.outbox') // true
 * ```
 */
export function migrationScript(dialect: SqlDialect): string {
  if (dialect === 'postgres') return `${POSTGRES};\n`
  if (dialect === 'sqlite')
    return `${['begin immediate', SQLITE_VERSIONS, ...OUTBOX_SQLITE, SQLITE_RECORD, 'commit'].join(';\n')};\n`
  throw new MillraceError('INVALID_OPTION', `there are tables for postgres and sqlite, not for ${shown(dialect)}`, {
    option: 'dialect',
    value: shown(dialect),
  })
}

/**
 * Make the tables of the outbox in a database, all or none. If they are there, nothing happens; several processes may
 * call it at once. In Postgres they are in the schema `millrace`; in SQLite their names begin with `millrace_`.
 *
 * @throws INVALID_OPTION when it is not a database of a known library · any error of the library
 * @example
 * ```ts no-run
 * import { migrate } from 'millrace/data'
 * import { Pool } from 'pg'
 *
 * await migrate(new Pool({ connectionString: 'postgres://localhost/shop' }))
 * ```
 */
export async function migrate(database: object): Promise<void> {
  const handle = databaseOf(database, 'migrate()')
  if (handle.dialect === 'postgres') await handle.run(POSTGRES, [])
  else await migrateSqlite(handle)
}

async function migrateSqlite(handle: SqlHandle): Promise<void> {
  if (!handle.sync) throw new TypeError(`${handle.what} is not synchronous`)
  handle.run('begin immediate', [])
  try {
    handle.run(SQLITE_VERSIONS, [])
    const [done] = handle.run("select 1 as found from millrace_migrations where part = 'outbox' and version = 1", [])
    if (done === undefined) for (const statement of [...OUTBOX_SQLITE, SQLITE_RECORD]) handle.run(statement, [])
    handle.run('commit', [])
  } catch (error) {
    handle.run('rollback', [])
    throw error
  }
}

/** The error for a statement that failed because the tables are missing; other errors are the library's own. */
export function migrationNeeded(error: unknown): MillraceError | undefined {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown }
  const missing =
    ((code === '42P01' || code === '3F000' || code === '42883') && String(message).includes('millrace')) ||
    (typeof message === 'string' && message.includes('no such table: millrace_'))
  if (!missing) return undefined
  const text = 'the tables of millrace are not in this database: call migrate() once, or run `millrace data migrate`'
  return new MillraceError('MIGRATION_NEEDED', text, { part: 'outbox' }, { cause: error })
}
