/** The tables that this room needs in a user's database: as a script to read and run, or run here. */
import { MillraceError } from '../../base/errors.ts'
import { shown } from '../../base/shown.ts'
import { databaseOf } from '../../sql/handle-of.ts'
import type { SqlDialect, SqlHandle } from '../../sql/sql-handle.ts'
import { INBOX_POSTGRES, INBOX_SQLITE } from './inbox.ts'
import { OUTBOX_POSTGRES } from './outbox-postgres.ts'
import { OUTBOX_SQLITE } from './outbox-sqlite.ts'

interface Part {
  readonly part: string
  readonly version: number
  readonly postgres: string
  readonly sqlite: readonly string[]
}

/** In this order. A part that has changed gets a further version, and nothing here is changed. */
const PARTS: readonly Part[] = [
  { part: 'outbox', version: 1, postgres: OUTBOX_POSTGRES, sqlite: OUTBOX_SQLITE },
  { part: 'inbox', version: 1, postgres: INBOX_POSTGRES, sqlite: INBOX_SQLITE },
]

/** Postgres: one statement, so that it is done as a whole or not at all. It runs any number of times. */
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
${PARTS.map(
  ({ part, version, postgres }) => `if not exists (
  select 1 from millrace.migrations m where m.part = '${part}' and m.version = ${version}
) then
${postgres}
insert into millrace.migrations (part, version) values ('${part}', ${version});
end if;`,
).join('\n')}
end
$millrace$`

const SQLITE_VERSIONS = `create table if not exists millrace_migrations (
  part text not null,
  version integer not null,
  at text not null default current_timestamp,
  primary key (part, version)
)`

/** The statements of one part, and the record that it is there. */
function sqliteOf({ part, version, sqlite }: Part): readonly string[] {
  return [...sqlite, `insert into millrace_migrations (part, version) values ('${part}', ${version})`]
}

/**
 * The script that makes the tables of the outbox and the inbox, to read it, or to run it with other tools. For Postgres
 * it may run any number of times; for SQLite once.
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
    return `${['begin immediate', SQLITE_VERSIONS, ...PARTS.flatMap(sqliteOf), 'commit'].join(';\n')};\n`
  throw new MillraceError('INVALID_OPTION', `there are tables for postgres and sqlite, not for ${shown(dialect)}`, {
    option: 'dialect',
    value: shown(dialect),
  })
}

/**
 * Make the tables of the outbox and the inbox in a database, all or none. If they are there, nothing happens; several
 * processes may call it at once. In Postgres they are in the schema `millrace`; in SQLite their names begin with
 * `millrace_`.
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
    for (const each of PARTS) {
      const { part, version } = each
      const found = handle.run('select 1 as found from millrace_migrations where part = ? and version = ?', [
        part,
        version,
      ])
      if (found.length === 0) for (const statement of sqliteOf(each)) handle.run(statement, [])
    }
    handle.run('commit', [])
  } catch (error) {
    handle.run('rollback', [])
    throw error
  }
}
