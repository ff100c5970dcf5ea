/**
 * What is checked of a server when the connection is made, and each time it is made again: its version, and clause 1,
 * what an acknowledgement of this server means.
 *
 * A commit is durable if the server has `fsync` and `full_page_writes` on. `synchronous_commit = off` is not a reason
 * to refuse: each transaction of Millrace that must be durable asks for a synchronous commit by itself.
 */
import { MillraceError } from '../../base/errors.ts'
import type { Capability } from '../../broker/capabilities.ts'
import type { PostgresLink } from './postgres-link.ts'
import type { PostgresSettings } from './postgres-url.ts'

const OLDEST = 140_000
const NAMES = [
  'server_version_num',
  'server_version',
  'fsync',
  'full_page_writes',
  'synchronous_commit',
  'server_encoding',
  'default_transaction_isolation',
  'default_transaction_read_only',
] as const

type Facts = Readonly<Record<(typeof NAMES)[number], string>> & { readonly replica: boolean }

/** The settings with which an acknowledgement is durable. */
export const SYNCED = 'fsync on: an answer comes after the write-ahead log is synced'

/** @throws CLAUSE_REFUSED · UNAVAILABLE */
export async function checkServer(link: PostgresLink, { durable }: PostgresSettings): Promise<Capability> {
  const [row = []] = await link.query(
    `SELECT pg_is_in_recovery(), ${NAMES.map((name) => `current_setting('${name}')`).join(', ')}`,
    [],
    'reading the settings of the server',
  )
  const facts = {
    ...Object.fromEntries(NAMES.map((name, at) => [name, row[at + 1] ?? ''])),
    replica: row[0] === 't',
  } as Facts
  checkFacts(facts)
  return judge(facts, durable)
}

function checkFacts(facts: Facts): void {
  if (Number(facts.server_version_num) < OLDEST)
    throw refused(`needs Postgres 14 or later, and the server is ${facts.server_version}`, { clause: null })
  if (facts.server_encoding !== 'UTF8')
    throw refused(
      `the database has the encoding ${facts.server_encoding}, which cannot hold every event: use a database with the encoding UTF8`,
      { clause: null, setting: 'server_encoding' },
    )
  if (facts.default_transaction_isolation !== 'read committed')
    throw refused(
      `the isolation level of this role in this database is "${facts.default_transaction_isolation}", and positions are given in read committed: ALTER ROLE … IN DATABASE … SET default_transaction_isolation = 'read committed' for the role of Millrace`,
      { clause: null, setting: 'default_transaction_isolation' },
    )
  if (!facts.replica && facts.default_transaction_read_only !== 'on') return
  const why = facts.replica ? 'is a replica' : 'is read-only (default_transaction_read_only)'
  throw new MillraceError('UNAVAILABLE', `postgres: the server ${why}: name the one that takes writes`, {
    engine: 'postgres',
  })
}

function judge(facts: Facts, durable: PostgresSettings['durable']): Capability {
  const weak = (['fsync', 'full_page_writes'] as const).filter((name) => facts[name] === 'off')
  if (weak.length === 0) {
    const forced =
      facts.synchronous_commit === 'off' ? '; synchronous_commit is off, so each transaction asks for it' : ''
    return { support: 'native', reason: `${SYNCED}${forced}` }
  }
  const settings = weak.map((name) => `${name} = off`).join(', ')
  if (durable === 'unsynced')
    return {
      support: 'refused',
      reason: `?durable=unsynced: acknowledged events may be lost, and the database damaged, when the machine fails (${settings})`,
    }
  throw refused(
    `an acknowledged event would not survive a power cut: the server has ${settings}. Set ${weak.join(' and ')} on, or accept it with ?durable=unsynced in the URL`,
    { setting: weak[0] },
  )
}

function refused(why: string, details: Readonly<Record<string, unknown>>): MillraceError {
  return new MillraceError('CLAUSE_REFUSED', `postgres: ${why}`, { engine: 'postgres', clause: 1, ...details })
}
