/** What `outboxOf()` asks SQLite. */
import type { SqlRow, SyncSqlHandle } from '../../sql/sql-handle.ts'
import { letterOf } from './dead-letter-row.ts'
import type { DeadQuery, OutboxFacts } from './outbox-facts.ts'

const DESCRIBE = `select
  (select count(*) from (
    select 1 from millrace_outbox where seq > (select seq from millrace_outbox_relay) limit 100000
  )) as waiting,
  (select put_ms from millrace_outbox where seq > (select seq from millrace_outbox_relay) order by seq limit 1) as put_ms,
  (select count(*) from millrace_outbox_held where state = 'retry') as retrying,
  (select count(*) from millrace_outbox_held where state = 'behind') as behind,
  (select count(*) from millrace_outbox_held where state = 'dead') as dead,
  (select until_ms from millrace_outbox_relay where owner is not null) as until_ms`

const DEAD = `select n from millrace_outbox_held where state = 'dead' and coalesce(channel = ?, true)
and (key is ? or ?) and coalesce(id = ?, true) order by n limit ?`

export function sqliteFacts(handle: SyncSqlHandle): OutboxFacts {
  return {
    describe: async () => {
      const [row = {}] = handle.run(DESCRIBE, [])
      const { waiting, put_ms, retrying, behind, dead, until_ms } = row
      return {
        waiting: Number(waiting),
        waitingMs: put_ms === null ? null : Math.max(0, Date.now() - Number(put_ms)),
        retrying: Number(retrying),
        behind: Number(behind),
        deadLetters: Number(dead),
        relayed: until_ms !== null && Number(until_ms) > Date.now(),
      }
    },
    list: async (query) =>
      handle.run(`select * from millrace_outbox_held where n in (${DEAD}) order by n`, valuesOf(query)).map(letterOf),
    change: async (redrive, query) => (redrive ? redriven(handle, query) : dropped(handle, query)),
  }
}

function redriven(handle: SyncSqlHandle, query: DeadQuery): number {
  const text = `update millrace_outbox_held set state = 'retry', attempts = 0, next_ms = ? where n in (${DEAD}) returning n`
  return handle.run(text, [Date.now(), ...valuesOf(query)]).length
}

/** All or none: what waits behind a deleted one is due at once. */
function dropped(handle: SyncSqlHandle, query: DeadQuery): number {
  handle.run('begin immediate', [])
  try {
    const gone = handle.run(
      `delete from millrace_outbox_held where n in (${DEAD}) returning channel, key`,
      valuesOf(query),
    )
    for (const row of gone) promoted(handle, row)
    handle.run('commit', [])
    return gone.length
  } catch (error) {
    handle.run('rollback', [])
    throw error
  }
}

function promoted(handle: SyncSqlHandle, { channel, key }: SqlRow): void {
  handle.run(
    `update millrace_outbox_held set state = 'retry', next_ms = ? where state = 'behind' and n = (
      select min(n) from millrace_outbox_held where channel = ? and key = ?) returning n`,
    [Date.now(), String(channel), key === null ? null : String(key)],
  )
}

function valuesOf({ channel, key, id, limit }: DeadQuery): (string | number | null)[] {
  return [channel, key, key === null ? 1 : 0, id, limit]
}
