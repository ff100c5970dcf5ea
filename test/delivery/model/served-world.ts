/** Servers in memory, the processes that use them, and the owner of each partition as the consumer logs say it. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Clock } from '../../../src/base/clock.ts'
import { MillraceError } from '../../../src/base/errors.ts'
import {
  type ChainRecord,
  consumerKeys,
  fromFloat,
  fromJson,
  lastNumber,
  under,
} from '../../../src/delivery/consumer-records.ts'
import { Cursor } from '../../../src/delivery/cursor/cursor.ts'
import type { BlockEvent } from '../../../src/event/block.ts'
import { type ConsumerLogState, entryIn, fold } from '../../../src/external-log/consumer-log/consumer-log-entry.ts'
import { ExternalLogEngine } from '../../../src/external-log/external-log-engine.ts'
import { DeadLetterStore } from '../../../src/external-log/letters/dead-letter-store.ts'
import type { StoredRecord } from '../../../src/external-log/log-backend.ts'
import { OwnedPartition } from '../../../src/external-log/ownership/owned-partition.ts'
import { Ownership } from '../../../src/external-log/ownership/ownership.ts'
import { MemoryBackend, MemoryServer } from '../../external-log/memory-backend.ts'
import { type Account, keyOf, type ModelLog, type Saved } from './account.ts'
import type { Setup } from './history.ts'
import type { Kept, Ledger } from './ledger.ts'
import type { SimClock } from './sim-clock.ts'

export const PARTITIONS = 2

/** Resolves when all work that needs no time has run. */
export async function idle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** A partition as the model sees it. It keeps events that retention removes. */
export class ServedLog implements ModelLog {
  readonly id: number
  readonly name: string
  readonly spec: { readonly kind: 'stream' | 'queue' }
  first = 0
  committed = 0
  readonly #latestByKey: boolean
  readonly #latest = new Map<string, number>()
  readonly #events = new Map<number, readonly [offset: number, event: BlockEvent, timeMs: number]>()

  constructor(id: number, { name, kind, latestByKey }: Setup['channels'][number]) {
    this.id = id
    this.name = name
    this.spec = { kind }
    this.#latestByKey = latestByKey
  }

  add({ offset, event, timeMs }: StoredRecord): void {
    this.#events.set(offset, [offset, event, timeMs])
    if (event.key !== null) this.#latest.set(event.key, offset)
    this.committed = offset + 1
  }

  events(): Iterable<readonly [offset: number, event: BlockEvent, timeMs: number]> {
    return this.#events.values()
  }

  holds(offset: number): boolean {
    return this.#events.has(offset)
  }

  superseded(key: string | null, offset: number): boolean {
    return this.#latestByKey && key !== null && (this.#latest.get(key) ?? -1) > offset
  }
}

/** A process with an engine. It may be slow, hang and die. */
export class Process implements Clock {
  readonly member: string
  engine!: ExternalLogEngine
  hung = false
  dead = false
  /** Its calls wait until they are let through, one by one. */
  slow = false
  /** The next call of this name succeeds, and its answer is lost. */
  loses: string | null = null
  readonly #world: ServedWorld
  #late: (() => void)[] = []
  calls: (() => void)[] = []

  constructor(world: ServedWorld, member: string) {
    this.#world = world
    this.member = member
  }

  now(): number {
    return this.#world.clock.now()
  }

  elapsed(): number {
    return this.#world.clock.elapsed()
  }

  after(delayMs: number, task: () => void): () => void {
    let cancelled = false
    const cancel = this.#world.clock.after(delayMs, () =>
      this.#do(() => {
        if (!cancelled) task()
      }),
    )
    return () => {
      cancelled = true
      cancel()
    }
  }

  at(timeMs: number, task: () => void): () => void {
    let cancel = (): void => undefined
    const wait = (): void => {
      cancel = this.after(Math.min(timeMs - this.now(), 60_000), () => (this.now() < timeMs ? wait() : task()))
    }
    wait()
    return () => cancel()
  }

  /** A process that hangs runs it later; one that is dead never does. */
  #do(task: () => void): void {
    if (this.dead) return
    if (this.hung) this.#late.push(task)
    else task()
  }

  wait(): Promise<void> | undefined {
    if (this.dead) return new Promise(() => undefined)
    if (this.hung) return new Promise((resolve) => this.#late.push(resolve))
    return this.slow ? new Promise((resolve) => this.calls.push(() => this.#do(resolve))) : undefined
  }

  lost(call: string): Error | undefined {
    if (this.loses !== call) return undefined
    this.loses = null
    return new MillraceError('UNAVAILABLE', 'the answer is lost')
  }

  watched(tell: () => void): void {
    this.#do(tell)
  }

  wake(): void {
    this.hung = false
    for (const task of this.#late.splice(0)) task()
  }

  /** Its calls go through. */
  letThrough(): void {
    this.slow = false
    for (const call of this.calls.splice(0)) call()
  }
}

class SimBackend extends MemoryBackend {
  readonly #process: Process
  readonly #world: ServedWorld

  constructor(world: ServedWorld, process: Process) {
    super(world.server, { wait: () => process.wait(), after: (call) => process.lost(call) }, process)
    this.#world = world
    this.#process = process
  }

  override appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
    const claim = claiming.getStore()
    if (claim !== undefined) this.#world.claims.set(entry, claim)
    this.#world.appending(this.#process, id, entry)
    return super.appendConsumerLog(id, expected, entry)
  }

  override watch(channel: string, onAppend: (partition: number | null) => void): Promise<() => void> {
    return super.watch(channel, (partition) => this.#process.watched(() => onAppend(partition)))
  }
}

/** A claim of a consumer log that is under way, and its number. */
interface Claim {
  number: number
}

const claiming = new AsyncLocalStorage<Claim>()
const claimOf = new WeakMap<Ownership, Claim>()

interface ConsumerLog {
  owner: string
  /** The partition has no owner: it was released, or the owner's memory is lost. */
  free: boolean
  claims: number
}

interface Owned {
  readonly owned: OwnedPartition
  readonly process: Process
  readonly claims: number
}

/** The world of the history that is being played. */
let playing: ServedWorld | null = null

export class ServedWorld {
  readonly clock: SimClock
  readonly server: MemoryServer = new MemoryServer()
  readonly logs: readonly ServedLog[]
  processes: Process[] = []
  rewinding = false
  readonly #setup: Setup
  readonly #ledger: () => Ledger
  readonly #alarm: (code: string, message: string) => void
  readonly #consumerLogs = new Map<string, ConsumerLog>()
  readonly #owned = new Map<string, Owned>()
  readonly claims: WeakMap<Uint8Array, Claim> = new WeakMap()
  readonly #saved = new WeakMap<Uint8Array, Saved>()
  /** What was to be durable with letters that are stored first, by process and consumer log. */
  readonly #shelved = new Map<string, Saved>()
  readonly #folded = new Map<string, readonly [version: number, state: ConsumerLogState]>()
  #members = 0

  constructor(setup: Setup, clock: SimClock, ledger: () => Ledger, alarm: (code: string, message: string) => void) {
    this.#setup = setup
    this.clock = clock
    this.#ledger = ledger
    this.#alarm = alarm
    this.logs = setup.channels.flatMap((channel) =>
      Array.from({ length: PARTITIONS }, (_, id) => new ServedLog(id, channel)),
    )
    this.server.onStored = (channel, partition, record) => {
      this.logs.find(({ name, id }) => name === channel && id === partition)?.add(record)
      this.#ledger().published()
    }
    this.server.onConsumerLogWritten = (id, entry) => this.#consumerLogWritten(id, entry)
    playing = this
  }

  async begin(): Promise<Process> {
    const process = new Process(this, `p${++this.#members}`)
    process.engine = await ExternalLogEngine.open({
      backend: new SimBackend(this, process),
      clock: process,
      member: process.member,
      partitions: PARTITIONS,
      onAlarm: ({ code, message }) => this.#alarm(code, message),
    })
    for (const { name, kind, latestByKey } of this.#setup.channels) {
      const retain = { ageMs: null, bytes: null, count: null, latestByKey }
      await process.engine.declare({ name, kind, types: null, retain, dedupe: null, eventBytesMax: 1_000_000 })
    }
    this.processes.push(process)
    return process
  }

  die(process: Process): void {
    process.dead = true
    this.processes = this.processes.filter((other) => other !== process)
    for (const [id, consumerLog] of this.#consumerLogs)
      if (consumerLog.owner === process.member && !consumerLog.free) this.#free(id, consumerLog)
  }

  /** What the owner had in memory has not happened. */
  #free(id: string, consumerLog: ConsumerLog): void {
    consumerLog.free = true
    this.#ledger().takenOver(id)
  }

  /**
   * A process is about to write an entry: what it comes to is what there is now, or was when letters began to be
   * stored.
   */
  appending(process: Process, id: string, entry: Uint8Array): void {
    if (this.#saved.has(entry)) return
    const account = this.#ledger().accounts.get(id)
    const letterStore = `${process.member} ${id}`
    const saved = this.#shelved.get(letterStore) ?? (account === undefined ? undefined : this.#savedNow(account))
    this.#shelved.delete(letterStore)
    if (saved !== undefined) this.#saved.set(entry, saved)
  }

  /**
   * An account as it is now. Dead letters that came back in this step are not dead in the entry that is written now.
   */
  #savedNow(account: Account): Saved {
    this.#ledger().observe(account)
    return this.#ledger().saved(account)
  }

  #consumerLogWritten(id: string, bytes: Uint8Array): void {
    const entry = entryIn(bytes)
    const [group = '', channel, partition] = id.split('/')
    const log = this.logs.find(({ name, id: its }) => name === channel && its === Number(partition))
    if (entry === null || log === undefined) return
    const consumerLog = this.#consumerLogs.get(id) ?? { owner: '', free: true, claims: 0 }
    this.#consumerLogs.set(id, consumerLog)
    if (entry.kind === 'claim') {
      if (!consumerLog.free) this.#free(id, consumerLog)
      Object.assign(consumerLog, { owner: entry.owner, free: false, claims: consumerLog.claims + 1 })
      const claim = this.claims.get(bytes)
      if (claim !== undefined) claim.number = consumerLog.claims
    } else if (entry.kind === 'release') consumerLog.free = true
    else if (entry.snapshot === undefined) this.#stored(id, group, log, bytes, consumerLog.free)
  }

  #stored(id: string, group: string, log: ServedLog, bytes: Uint8Array, free: boolean): void {
    const ledger = this.#ledger()
    const known = ledger.accounts.get(id)
    const saved = this.#saved.get(bytes)
    if (known === undefined) {
      const floor = this.#state(id).records.get(consumerKeys.cursor(group, log.id))
      if (floor === undefined) return
      ledger.opened(group, log, fromFloat(floor))
      ledger.stored(ledger.saved(ledger.accounts.get(id) as Account))
    } else if (saved !== undefined) {
      ledger.stored(saved)
      // It was on its way when its writer gave up.
      if (free) ledger.takenOver(id)
    }
  }

  #state(id: string): ConsumerLogState {
    const consumerLog = this.server.consumerLogs.get(id) ?? { version: 0, entries: [] }
    const known = this.#folded.get(id)
    if (known?.[0] === consumerLog.version) return known[1]
    const state = fold(consumerLog.entries.map(([, bytes]) => bytes))
    this.#folded.set(id, [consumerLog.version, state])
    return state
  }

  register(owned: OwnedPartition): void {
    const consumerLog = this.#consumerLogs.get(owned.consumerLog)
    const process = this.processes.find(({ member }) => member === consumerLog?.owner)
    // Another of the same process may have claimed it meanwhile.
    const claims = claimOf.get(owned.ownership)?.number
    if (claims !== undefined && claims === consumerLog?.claims && process !== undefined)
      this.#owned.set(owned.consumerLog, { owned, process, claims })
  }

  /** The process that owns a partition and works on it. */
  owner(id: string): Owned | null {
    const consumerLog = this.#consumerLogs.get(id)
    const found = this.#owned.get(id)
    return consumerLog === undefined ||
      consumerLog.free ||
      found?.claims !== consumerLog.claims ||
      found.process.member !== consumerLog.owner
      ? null
      : found
  }

  lost(owned: OwnedPartition): void {
    const consumerLog = this.#consumerLogs.get(owned.consumerLog)
    if (consumerLog !== undefined && this.owner(owned.consumerLog)?.owned === owned)
      this.#free(owned.consumerLog, consumerLog)
  }

  shelving(letterStore: DeadLetterStore): void {
    for (const [id, { owned, process }] of this.#owned) {
      const account = this.#ledger().accounts.get(id)
      const key = `${process.member} ${id}`
      if (owned.ownership.aside === letterStore && account !== undefined && !this.#shelved.has(key))
        this.#shelved.set(key, this.#savedNow(account))
    }
  }

  rewound(cursor: Cursor, to: number): void {
    const id = `${cursor.group}/${cursor.log.name}/${cursor.log.id}`
    const account = this.#ledger().accounts.get(id)
    // What a process rewinds of a partition that it has lost is never stored.
    if (account !== undefined && this.owner(id)?.owned.cursor === cursor) this.#ledger().rewound(account, to)
  }

  kept(account: Account): Map<number, Kept> {
    const id = keyOf(account)
    const table = under(consumerKeys.table('k', account.group, account.log.id))
    const owner = this.owner(id)
    const records =
      owner === null
        ? this.#state(id).records.range(...table)
        : (owner.owned.ownership.aside as DeadLetterStore).range(...table)
    return new Map(
      records.map(([key, bytes]) => {
        const { state, consumer } = fromJson<ChainRecord>(bytes)
        return [lastNumber(key), { dead: state === 'dead', consumer }]
      }),
    )
  }

  /** The records of one table that are left. */
  left(table: 'r' | 'd' | 'k', { group, log }: Account): readonly string[] {
    return this.#state(keyOf({ group, log }))
      .records.range(...under(consumerKeys.table(table, group, log.id)))
      .map(([key]) => key)
  }

  /** Retention removes all but the last events of a stream. */
  retain(channel: string, count: number): void {
    const stored = this.server.channels.get(channel)
    if (stored === undefined || stored.entry.spec.kind === 'queue') return
    stored.records = stored.records.slice(-count)
    const first = stored.records[0]?.offset ?? stored.next
    for (const log of this.logs) if (log.name === channel) log.first = Math.max(log.first, first)
  }

  async end(): Promise<void> {
    for (const process of this.processes) process.dead = true
    await idle()
    playing = null
  }
}

/**
 * While histories are played, report each partition that is taken, lost or rewound to the world. Returns a function
 * that ends it.
 */
export function watchPartitions(): () => void {
  const own = {
    claim: Ownership.claim,
    begin: OwnedPartition.begin,
    lost: OwnedPartition.prototype.lost,
    store: DeadLetterStore.prototype.store,
    rewind: Cursor.prototype.rewind,
  }
  Ownership.claim = async (...given) => {
    const claim: Claim = { number: 0 }
    const ownership = await claiming.run(claim, () => own.claim.apply(Ownership, given))
    if (ownership !== null) claimOf.set(ownership, claim)
    return ownership
  }
  OwnedPartition.begin = async (...given) => {
    const owned = await own.begin.apply(OwnedPartition, given)
    playing?.register(owned)
    return owned
  }
  OwnedPartition.prototype.lost = function (this: OwnedPartition) {
    own.lost.call(this)
    playing?.lost(this)
  }
  DeadLetterStore.prototype.store = function (this: DeadLetterStore) {
    playing?.shelving(this)
    return own.store.call(this)
  }
  Cursor.prototype.rewind = function (this: Cursor, to: number) {
    if (playing === null) return own.rewind.call(this, to)
    playing.rewinding = true
    own.rewind.call(this, to)
    playing.rewinding = false
    playing.rewound(this, to)
  }
  return () => {
    Ownership.claim = own.claim
    OwnedPartition.begin = own.begin
    Object.assign(OwnedPartition.prototype, { lost: own.lost })
    Object.assign(DeadLetterStore.prototype, { store: own.store })
    Object.assign(Cursor.prototype, { rewind: own.rewind })
  }
}
