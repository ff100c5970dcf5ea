/** The outbox's tables in Postgres. Each call is one statement, so that any connection of a pool serves it. */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { SqlHandle, SqlRow } from '../../sql/sql-handle.ts'
import { LANES } from '../migrations/outbox-postgres.ts'
import {
  type ChannelKey,
  type Cursor,
  type Cursors,
  cursorsIn,
  cursorsText,
  type FetchLimits,
  type HeldRow,
  type Holding,
  type Lease,
  type OutboxEvent,
  type OutboxRow,
  type OutboxStore,
  type Progress,
} from './outbox-store.ts'

const STRIPE = 0
const MS = '(extract(epoch from put_at) * 1000)::bigint::text as put_ms'

export class PostgresStore implements OutboxStore {
  readonly #handle: SqlHandle

  constructor(handle: SqlHandle) {
    this.#handle = handle
  }

  async lease(relay: string, leaseMs: number): Promise<Lease | null> {
    const [row] = await this.#handle.run(
      'select millrace.outbox_lease($1::smallint, $2::text, $3::bigint)::text as fence',
      [STRIPE, relay, leaseMs],
    )
    const fence = row?.['fence']
    return typeof fence === 'string' ? { relay, fence: Number(fence) } : null
  }

  async release({ relay, fence }: Lease): Promise<void> {
    await this.#handle.run(
      'update millrace.outbox_stripes set owner = null, until = null where stripe = $1::smallint and owner = $2::text and fence = $3::bigint',
      [STRIPE, relay, fence],
    )
  }

  async progress(): Promise<Progress> {
    const [row = {}] = await this.#handle.run(
      `select current_setting('transaction_isolation') as level, p.n::text as n, p.cursors from (select 1) one
      left join lateral (
        select n, cursors from millrace.outbox_progress where stripe = $1::smallint order by n desc limit 1
      ) p on true`,
      [STRIPE],
    )
    const { level, n, cursors: text } = row
    if (level !== 'read committed') throw wrongLevel(String(level))
    const cursors = new Map<number, Cursor>()
    for (let lane = 0; lane < LANES; lane++) cursors.set(lane, { pos: 0, seq: 0 })
    if (typeof n !== 'string') return { n: 0, cursors }
    for (const [lane, cursor] of cursorsIn(String(text))) cursors.set(lane, cursor)
    return { n: Number(n), cursors }
  }

  async fetch(cursors: Cursors, { perLane, rows: most, bytes }: FetchLimits): Promise<readonly OutboxRow[]> {
    const rows = await this.#handle.run(
      `select lane, pos::text as pos, seq::text as seq, channel, id, type, key, due_ms::text as due_ms, event, ${MS}
      from millrace.outbox_fetch($1::text, $2::integer, $3::integer, $4::bigint)`,
      [cursorsText(cursors), perLane, most, bytes],
    )
    return rows.map((row) => ({ ...eventOf(row), lane: Number(row['lane']), cursor: cursorOf(row) }))
  }

  async advance(
    { relay, fence }: Lease,
    after: number,
    cursors: Cursors,
    held: readonly (OutboxEvent & Holding)[],
  ): Promise<number | null> {
    const [row] = await this.#handle.run(
      'select millrace.outbox_advance($1::smallint, $2::text, $3::bigint, $4::bigint, $5::text, $6::text)::text as n',
      [STRIPE, relay, fence, after, cursorsText(cursors), JSON.stringify(held.map(heldJson))],
    )
    const n = row?.['n']
    return typeof n === 'string' ? Number(n) : null
  }

  async heldOf(keys: readonly ChannelKey[]): Promise<readonly ChannelKey[]> {
    const rows = await this.#handle.run(
      `select k.channel, k.key from json_to_recordset($1::text::json) as k(channel text, key text)
      where exists (select 1 from millrace.outbox_held h where h.channel = k.channel and h.key = k.key)`,
      [JSON.stringify(keys)],
    )
    return rows.map((row) => ({ channel: String(row['channel']), key: String(row['key']) }))
  }

  async due({ rows: most, bytes }: FetchLimits): Promise<readonly HeldRow[]> {
    const rows = await this.#handle.run(
      `select n::text as n, attempts, channel, id, type, key, due_ms::text as due_ms, event, ${MS} from (
        select h.*, sum(octet_length(h.event)) over (order by h.n) - octet_length(h.event) as bytes
        from millrace.outbox_held h
        where h.state = 'retry' and h.stripe = $1::smallint and h.next_at <= clock_timestamp()
        order by h.n limit $2::integer
      ) d where bytes < $3::bigint`,
      [STRIPE, most, bytes],
    )
    return rows.map((row) => ({ ...eventOf(row), n: Number(row['n']), attempts: Number(row['attempts']) }))
  }

  async settle(
    { relay, fence }: Lease,
    published: readonly HeldRow[],
    failed: readonly (HeldRow & Holding)[],
  ): Promise<boolean> {
    const gone = published.map(({ n, channel, key }) => ({ n, channel, key }))
    const kept = failed.map(({ n, state, attempts, delayMs, failure }) => ({
      ...{ n, state, attempts, delay_ms: delayMs },
      ...(failure ?? {}),
    }))
    const [row] = await this.#handle.run(
      'select millrace.outbox_settle($1::smallint, $2::text, $3::bigint, $4::text, $5::text) as done',
      [STRIPE, relay, fence, JSON.stringify(gone), JSON.stringify(kept)],
    )
    return row?.['done'] === true
  }

  async tidy(): Promise<void> {
    await this.#handle.run('select millrace.outbox_rotate($1::bigint)', [LIMITS.outboxSlotBytes])
  }
}

function wrongLevel(level: string): MillraceError {
  return new MillraceError(
    'INVALID_OPTION',
    `outboxRelay() needs connections in read committed, and these are in "${level}": set default_transaction_isolation for their role, or in the options of the pool. Those of writers may have any level`,
    { option: 'database', value: level },
  )
}

function eventOf(row: SqlRow): OutboxEvent {
  const { channel, id, type, key, due_ms, event, put_ms } = row
  return {
    channel: String(channel),
    id: String(id),
    type: String(type),
    key: typeof key === 'string' ? key : null,
    dueAtMs: typeof due_ms === 'string' ? Number(due_ms) : null,
    text: String(event),
    putAtMs: Number(put_ms),
  }
}

function cursorOf(row: SqlRow): Cursor {
  return { pos: Number(row['pos']), seq: Number(row['seq']) }
}

function heldJson({ channel, id, type, key, dueAtMs, text, putAtMs, ...holding }: OutboxEvent & Holding): unknown {
  const { state, attempts, delayMs, failure } = holding
  return {
    ...{ state, attempts, delay_ms: delayMs, channel, id, type, key, due_ms: dueAtMs, event: text },
    ...{ put_at: new Date(putAtMs).toISOString() },
    ...(failure ?? {}),
  }
}
