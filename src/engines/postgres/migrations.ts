/**
 * Making the tables, and checking that they are those of this version. `connect` makes them in a schema that has none.
 * It never changes tables that are there: another version of them is refused. One process at a time makes them.
 */
import { MillraceError } from '../../base/errors.ts'
import { connectorOf } from './postgres-client.ts'
import { PostgresLink } from './postgres-link.ts'
import { type PostgresSettings, postgresSettings, shownUrl } from './postgres-url.ts'
import { checkServer } from './server-check.ts'
import { TABLES_VERSION, tablesSql } from './tables.ts'

export interface TablesPlan {
  readonly schema: string
  readonly version: number
  /** The statements that make the tables in a schema that has none. */
  readonly sql: string
}

/** What would be run on the Postgres of a URL. Nothing is connected. @throws INVALID_OPTION when the URL is wrong */
export function tablesPlan(url: string): TablesPlan {
  const { schema } = postgresSettings(url)
  return {
    schema,
    version: TABLES_VERSION,
    sql: `BEGIN;\nCREATE SCHEMA IF NOT EXISTS ${schema};\n${tablesSql(schema)}COMMIT;`,
  }
}

/** Make the tables, unless they are there. @throws as `connect` */
export async function makeTables(url: string): Promise<Pick<TablesPlan, 'schema' | 'version'>> {
  const settings = postgresSettings(url)
  const link = await PostgresLink.open(await connectorOf(settings), shownUrl(settings))
  try {
    await checkServer(link, settings)
    await readyTables(link, { ...settings, tables: 'make' })
  } finally {
    await link.close()
  }
  return { schema: settings.schema, version: TABLES_VERSION }
}

/** @throws DATA_FOREIGN · MIGRATION_NEEDED · FORBIDDEN */
export async function readyTables(link: PostgresLink, { schema, tables }: PostgresSettings): Promise<void> {
  if (await checked(link, schema)) return
  if (tables === 'expect') {
    const message = `postgres: the schema "${schema}" has no tables of Millrace, and the URL says tables=expect: run what \`millrace tables --plan\` prints, or leave the option out`
    throw new MillraceError('MIGRATION_NEEDED', message, { part: `the schema "${schema}"` })
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
  throw new MillraceError('DATA_FOREIGN', message, { format: version })
}

/**
 * All statements as one, so that they are one transaction, which does nothing if the tables are there already. What is
 * there is asked of the catalogue's tables: names that were looked up before the lock was given are remembered.
 */
function madeOnce(schema: string): string {
  const there = `SELECT FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'meta' WHERE n.nspname = '${schema}'`
  return `DO $make$ BEGIN
PERFORM pg_advisory_xact_lock(hashtextextended('millrace ${schema}', 0));
IF NOT EXISTS (${there}) THEN CREATE SCHEMA ${schema}; END IF;
IF NOT EXISTS (${there} AND c.oid IS NOT NULL) THEN
${tablesSql(schema)}
END IF;
END $make$`
}
