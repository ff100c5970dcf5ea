/**
 * The outbox's tables in SQLite: one lane, whose cursor is the number of the last published row.
 *
 * The connection may be the application's own. While the application has a transaction open on it, every call fails
 * with BUSY, so that nothing of the relay becomes part of that transaction.
 */
import { LIMITS } from '../../base/limits.ts'
import type { SqlRow, SqlValue, SyncSqlHandle } from '../../sql/sql-handle.ts'
import type {
  ChannelKey,
  Cursors,
  FetchLimits,
  HeldRow,
  Holding,
  Lease,
  OutboxEvent,
  OutboxRow,
  OutboxStore,
  Progress,
} from './outbox-store.ts'

const LANE = 0

/** The database cannot be used at this moment: try again soon. */
export class Busy extends Error {
  override readonly name = 'Busy'
}

export class SqliteStore implements OutboxStore {
  readonly #handle: SyncSqlHandle
  readonly #nowMs: () => number
  /** Rows up to this one are deleted. */
  #tidied = 0

  constructor(handle: SyncSqlHandle, nowMs: () => number = Date.now) {
    this.#handle = handle
    this.#nowMs = nowMs
  }

  async lease(relay: string, leaseMs: number): Promise<Lease | null> {
    const now = this.#nowMs()
    const [row] = this.#run(
      `update millrace_outbox_relay set fence = case when owner = ? then fence else fence + 1 end, owner = ?, until_ms = ?
      where owner is null or owner = ? or until_ms < ? returning fence`,
      [relay, relay, now + leaseMs, relay, now],
    )
    return row === undefined ? null : { relay, fence: Number(row['fence']) }
  }

  async release({ relay, fence }: Lease): Promise<void> {
    this.#run(
      'update millrace_outbox_relay set owner = null, until_ms = 0 where owner = ? and fence = ? returning fence',
      [relay, fence],
    )
  }

  async progress(): Promise<Progress> {
    const [row] = this.#run('select seq from millrace_outbox_relay', [])
    const seq = Number(row?.['seq'] ?? 0)
    return { n: seq, cursors: new Map([[LANE, { pos: seq, seq }]]) }
  }

  async fetch(cursors: Cursors, limits: FetchLimits): Promise<readonly OutboxRow[]> {
    const rows = this.#run(
      `select * from (
        select o.*, sum(length(event)) over (order by seq) - length(event) as bytes
        from (select * from millrace_outbox where seq > ? order by seq limit ?) o
      ) where bytes < ? order by seq`,
      [cursors.get(LANE)?.seq ?? 0, limits.rows, limits.bytes],
    )
    return rows.map((row) => {
      const seq = Number(row['seq'])
      return { ...eventOf(row), lane: LANE, cursor: { pos: seq, seq } }
    })
  }

  async advance(
    lease: Lease,
    after: number,
    cursors: Cursors,
    held: readonly (OutboxEvent & Holding)[],
  ): Promise<number | null> {
    const seq = cursors.get(LANE)?.seq ?? 0
    const isDone = this.#leased(lease, () => {
      const moved = this.#run('update millrace_outbox_relay set seq = ? where seq = ? returning seq', [seq, after])
      if (moved.length === 0) return false
      for (const event of held) this.#hold(event)
      // What an event was to wait behind may have been dropped while others were sent.
      for (const event of held) this.#promote(event)
      return true
    })
    return isDone ? seq : null
  }

  /** The first held event of a key is due at once if it waits: nothing is before it. */
  #promote({ channel, key }: OutboxEvent): void {
    this.#run(
      `update millrace_outbox_held set state = 'retry', next_ms = ? where state = 'behind' and n = (
        select min(n) from millrace_outbox_held where channel = ? and key = ?) returning n`,
      [this.#nowMs(), channel, key],
    )
  }

  #hold(held: OutboxEvent & Holding): void {
    const { state, channel, id, type, key, dueAtMs, text, putAtMs, attempts, delayMs, failure } = held
    const now = this.#nowMs()
    this.#run(
      `insert into millrace_outbox_held
      (state, channel, id, type, key, due_ms, event, put_ms, attempts, next_ms, failed_ms, code, message)
      values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning n`,
      [
        ...[state, channel, id, type, key, dueAtMs, text, putAtMs, attempts, now + delayMs],
        ...(failure === null ? [null, null, null] : [now, failure.code, failure.message]),
      ],
    )
  }

  async heldOf(keys: readonly ChannelKey[]): Promise<readonly ChannelKey[]> {
    const rows = this.#run(
      `select k.value ->> 'channel' as channel, k.value ->> 'key' as key from json_each(?) as k where exists (
        select 1 from millrace_outbox_held h where h.channel = k.value ->> 'channel' and h.key = k.value ->> 'key')`,
      [JSON.stringify(keys)],
    )
    return rows.map((row) => ({ channel: String(row['channel']), key: String(row['key']) }))
  }

  async due(limits: FetchLimits): Promise<readonly HeldRow[]> {
    const rows = this.#run(
      `select * from (
        select h.*, sum(length(event)) over (order by n) - length(event) as bytes from (
          select * from millrace_outbox_held where state = 'retry' and next_ms <= ? order by n limit ?
        ) h
      ) where bytes < ? order by n`,
      [this.#nowMs(), limits.rows, limits.bytes],
    )
    return rows.map((row) => ({ ...eventOf(row), n: Number(row['n']), attempts: Number(row['attempts']) }))
  }

  async settle(lease: Lease, published: readonly HeldRow[], failed: readonly (HeldRow & Holding)[]): Promise<boolean> {
    return this.#leased(lease, () => {
      const now = this.#nowMs()
      for (const { n, state, attempts, delayMs, failure } of failed) {
        this.#run(
          `update millrace_outbox_held set state = ?, attempts = ?, next_ms = ?, failed_ms = ?, code = ?, message = ?
          where n = ? returning n`,
          [state, attempts, now + delayMs, now, failure?.code ?? null, failure?.message ?? null, n],
        )
      }
      for (const event of published) {
        this.#run('delete from millrace_outbox_held where n = ? returning n', [event.n])
        this.#promote(event)
      }
      return true
    })
  }

  async tidy(cursors: Cursors): Promise<void> {
    const seq = cursors.get(LANE)?.seq ?? 0
    if (seq - this.#tidied < LIMITS.outboxTidyRows) return
    this.#run('delete from millrace_outbox where seq <= min(?, (select seq from millrace_outbox_relay))', [seq])
    this.#tidied = seq
  }

  /** The work in a transaction of its own, if the lease is still held. It is rolled back if the work answers false. */
  #leased({ relay, fence }: Lease, work: () => boolean): boolean {
    this.#run('begin immediate', [])
    let done = false
    try {
      const [row] = this.#handle.run('select 1 as held from millrace_outbox_relay where owner = ? and fence = ?', [
        relay,
        fence,
      ])
      if (row !== undefined) {
        this.#inside = true
        done = work()
      }
      this.#handle.run(done ? 'commit' : 'rollback', [])
      return done
    } catch (error) {
      this.#handle.run('rollback', [])
      throw error
    } finally {
      this.#inside = false
    }
  }

  /** Whether the open transaction is the relay's own. */
  #inside = false

  #run(text: string, values: readonly SqlValue[]): readonly SqlRow[] {
    if (!this.#inside && this.#handle.inTransaction?.() === true)
      throw new Busy('the application has a transaction open on this connection')
    return this.#handle.run(text, values)
  }
}

function eventOf(row: SqlRow): OutboxEvent {
  const { channel, id, type, key, due_ms, event, put_ms } = row
  return {
    channel: String(channel),
    id: String(id),
    type: String(type),
    key: typeof key === 'string' ? key : null,
    dueAtMs: due_ms === null || due_ms === undefined ? null : Number(due_ms),
    text: String(event),
    putAtMs: Number(put_ms),
  }
}
