/** What `outboxOf()` asks Postgres. */
import type { SqlHandle } from '../../sql/sql-handle.ts'
import { LANES } from '../migrations/outbox-postgres.ts'
import { letterOf } from './dead-letter-row.ts'
import type { OutboxFacts } from './outbox-facts.ts'

const DESCRIBE = `select
  (select count(*)::int from (
    select 1 from millrace.outbox_commits c
    left join millrace.outbox_cursors() k on k.lane = c.lane
    join millrace.outbox o on o.tx = c.tx and o.lane = c.lane and o.slot = c.slot and o.seq >= c.seq
    where k.pos is null or c.pos > k.pos or (c.pos = k.pos and o.seq > k.seq)
    limit 100000
  ) w) as waiting,
  (select (extract(epoch from clock_timestamp() - min(f.put_at)) * 1000)::bigint::text from millrace.outbox_fetch((
    select json_agg(json_build_object('lane', n, 'pos', coalesce(k.pos, 0), 'seq', coalesce(k.seq, 0)))::text
    from generate_series(0, ${LANES - 1}) n left join millrace.outbox_cursors() k on k.lane = n
  ), 1, ${LANES}, 1 << 30) f) as waiting_ms,
  (select count(*)::int from millrace.outbox_held where state = 'retry') as retrying,
  (select count(*)::int from millrace.outbox_held where state = 'behind') as behind,
  (select count(*)::int from millrace.outbox_held where state = 'dead') as dead,
  (select exists (
    select 1 from millrace.outbox_stripes where owner is not null and until > clock_timestamp()
  ))::int as relayed`

const LIST = `select channel, id, type, key, event, attempts, (extract(epoch from put_at) * 1000)::bigint::text as put_ms,
  (extract(epoch from failed_at) * 1000)::bigint::text as failed_ms, code, message
from millrace.outbox_dead_letters($1::text, $2::text, $3::text, $4::bigint)`

export function postgresFacts(handle: SqlHandle): OutboxFacts {
  return {
    describe: async () => {
      const [row = {}] = await handle.run(DESCRIBE, [])
      const { waiting, waiting_ms, retrying, behind, dead, relayed } = row
      return {
        waiting: Number(waiting),
        waitingMs: typeof waiting_ms === 'string' ? Math.max(0, Number(waiting_ms)) : null,
        retrying: Number(retrying),
        behind: Number(behind),
        deadLetters: Number(dead),
        relayed: Number(relayed) === 1,
      }
    },
    list: async ({ channel, key, id, limit }) => {
      const rows = await handle.run(LIST, [channel, key, id, limit])
      return rows.map(letterOf)
    },
    change: async (redrive, { channel, key, id, limit }) => {
      const [row] = await handle.run(
        'select millrace.outbox_dead($1::int = 1, $2::text, $3::text, $4::text, $5::bigint) as done',
        [redrive ? 1 : 0, channel, key, id, limit],
      )
      return Number(row?.['done'])
    },
  }
}
