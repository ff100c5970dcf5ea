/**
 * Making the tables, and checking that they are those of this version. `connect` makes them in a schema that has none.
 * It never changes tables that are there: another version of them is refused. One process at a time makes them.
 */
import { MillraceError } from '../../base/errors.ts'
import type { PostgresLink } from './postgres-link.ts'
import type { PostgresSettings } from './postgres-url.ts'
import { TABLES_VERSION, tablesSql } from './tables.ts'

/** @throws DATA_FOREIGN · DATA_MISSING · FORBIDDEN */
export async function readyTables(link: PostgresLink, { schema, tables }: PostgresSettings): Promise<void> {
  if (await checked(link, schema)) return
  if (tables === 'expect') {
    const message = `postgres: the schema "${schema}" has no tables of Millrace, and the URL says tables=expect: run what \`millrace tables URL\` prints, or leave the option out`
    throw new MillraceError('DATA_MISSING', message, { engine: 'postgres', schema })
  }
  await link.query(madeOnce(schema), [], `making the tables in the schema "${schema}"`)
  await checked(link, schema)
}

/** Whether the tables are there, in this version. @throws DATA_FOREIGN */
async function checked(link: PostgresLink, schema: string): Promise<boolean> {
  const there = await link.query('SELECT to_regclass($1) IS NOT NULL', [`${schema}.meta`], 'looking for the tables')
  if (there[0]?.[0] !== 't') return false
  const rows = await link.query(`SELECT version FROM ${schema}.meta`, [], 'reading the version of the tables')
  const version = Number(rows[0]?.[0])
  if (version === TABLES_VERSION) return true
  const message = `postgres: the tables in the schema "${schema}" have version ${version}, and this version of Millrace works with ${TABLES_VERSION}: copy the channels to a directory with the version that made them (\`millrace copy\`), and from there with this one, or use another schema`
  throw new MillraceError('DATA_FOREIGN', message, { engine: 'postgres', schema, version })
}

/** All statements as one, so that they are one transaction, which does nothing if the tables are there already. */
function madeOnce(schema: string): string {
  return `DO $make$ BEGIN
PERFORM pg_advisory_xact_lock(hashtextextended('millrace ${schema}', 0));
IF to_regclass('${schema}.meta') IS NULL THEN
${tablesSql(schema)}
END IF;
END $make$`
}
