/** A table over an engine: finds its channel, reads it by key, and decodes what is found. */
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName, isStateChannel, stateChannelOf } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { knownOptions } from '../base/units.ts'
import { type Channel, isChannel } from '../channel/channel.ts'
import { STATE_DELETED } from '../channel/state-channel.ts'
import { decodeEvent } from '../event/encode.ts'
import { inNewest, type VersionedDefinition } from '../event/event-version.ts'
import { leavable } from './connected-reads.ts'
import type { Engine, StoredText } from './engine.ts'
import { EventDecoder } from './event-decoder.ts'
import type { FollowOptions, Table, TableChange, TableEntry, TableQuery, TableSource } from './table.ts'

/** Where a table is, and how its events become values. */
interface Source {
  readonly channel: string
  /** Without a consumer's or a stream's definition, nothing tells a table that is empty from a wrong name. */
  readonly defined: boolean
  value(event: StoredText): unknown
}

export class ConnectedTable implements Table {
  readonly #given: TableSource
  /** @throws CLOSED */
  readonly #engine: () => Engine

  /** @throws INVALID_OPTION · INVALID_NAME */
  constructor(given: TableSource, engine: () => Engine) {
    this.#given = given
    this.#engine = engine
    if (typeof given === 'string') checkName(given, 'consumer')
    else definedSource(given)
  }

  get channel(): string {
    const given = this.#given
    return typeof given === 'string' ? stateChannelOf(given) : definedSource(given).channel
  }

  async get(key: string): Promise<TableEntry | undefined> {
    const asked = checkedKey(key, 'key')
    const engine = this.#engine()
    const source = await this.#source(engine)
    const stored = await orEmpty(source, () => engine.tables.get(source.channel, asked), null)
    if (stored === null || stored.type === STATE_DELETED) return undefined
    return entryOf(source, stored)
  }

  entries(query: TableQuery = {}): AsyncIterableIterator<TableEntry> {
    knownOptions(query, ['prefix', 'after'], 'entries of a table')
    const prefix = query.prefix === undefined || query.prefix === '' ? '' : checkedKey(query.prefix, 'prefix')
    const after = query.after === undefined ? null : checkedKey(query.after, 'after')
    return this.#entries(prefix, after)
  }

  async *#entries(prefix: string, begin: string | null): AsyncGenerator<TableEntry> {
    const engine = this.#engine()
    const source = await this.#source(engine)
    const limit = LIMITS.tablePageMax
    for (let after = begin; ; ) {
      const page = await orEmpty(source, () => engine.tables.scan(source.channel, { prefix, after, limit }), [])
      for (const stored of page) if (stored.type !== STATE_DELETED) yield await entryOf(source, stored)
      const last = page.at(-1)
      if (last === undefined || page.length < limit) return
      after = last.key
    }
  }

  follow(options: FollowOptions = {}): AsyncIterableIterator<TableChange> {
    knownOptions(options, ['signal'], 'follow of a table')
    const { signal } = options
    if (signal !== undefined && !(signal instanceof AbortSignal))
      throw new MillraceError('INVALID_OPTION', `signal of follow must be an AbortSignal; it is ${shown(signal)}`, {
        option: 'signal',
      })
    const left = new AbortController()
    return leavable(this.#follow(signal === undefined ? left.signal : AbortSignal.any([left.signal, signal])), left)
  }

  async *#follow(signal: AbortSignal): AsyncGenerator<TableChange> {
    const engine = this.#engine()
    const source = await this.#source(engine)
    const range = { from: { at: 'beginning' }, to: null, follow: true, signal } as const
    for await (const batch of engine.read(source.channel, range)) {
      for (const stored of batch) {
        if (stored.key === null) continue
        if (stored.type === STATE_DELETED) yield { ...placeOf(stored), value: undefined }
        else yield await entryOf(source, stored)
      }
    }
    if (signal.aborted || this.#isClosed()) return
    throw tableRemoved(source.channel)
  }

  #isClosed(): boolean {
    try {
      return this.#engine() === undefined
    } catch {
      return true
    }
  }

  async #source(engine: Engine): Promise<Source> {
    const given = this.#given
    if (typeof given !== 'string') return definedSource(given)
    const state = stateChannelOf(given)
    const isConsumer = !isStateChannel(given) && (await engine.channel(state)) !== undefined
    if (isConsumer)
      return { channel: state, defined: false, value: (event) => decodeEvent(event.text, event.offset).data }
    return { channel: given, defined: false, value: (event) => decodeEvent(event.text, event.offset) }
  }
}

function definedSource(given: Exclude<TableSource, string>): Source {
  if (isChannel(given)) return streamSource(given)
  const { name, state } = (given ?? {}) as { readonly name?: unknown; readonly state?: VersionedDefinition | null }
  if (typeof name === 'string' && typeof state === 'object' && state !== null) return stateSource(name, state)
  const message =
    typeof name === 'string' && state === null
      ? `consumer "${name}" keeps no state: declare it, consumer(name, channels, { state: { schema } })`
      : `a table is of a consumer with state, of a stream that keeps the latest event of each key, or of the name of either; this is ${shown(given)}`
  throw new MillraceError('INVALID_OPTION', message, { option: 'table' })
}

function streamSource(stream: Channel): Source {
  const { name, spec } = stream
  if (!spec.retain.latestByKey) {
    const message = `channel "${name}" keeps all events of a key, so it is no table: declare it with retain: { latestByKey: true }, or read it`
    throw new MillraceError('INVALID_OPTION', message, { channel: name })
  }
  const decoder = new EventDecoder('read')
  decoder.addChannel(stream)
  return { channel: name, defined: true, value: (event) => decoder.decode(event, name) }
}

function stateSource(consumer: string, definition: VersionedDefinition): Source {
  const channel = stateChannelOf(consumer)
  return {
    channel,
    defined: true,
    value: async ({ text, type, id, offset }) =>
      (await inNewest(definition, decodeEvent(text, offset), { type, id, channel, offset }, 'read')).data,
  }
}

/** The channel of a table that was followed is gone, and perhaps made again. */
function tableRemoved(channel: string): MillraceError {
  const message = `the table "${channel}" was removed while it was followed: all of its keys are gone. A rewind with state: 'reset' does this, too, and the table is filled again: forget what you have of it, and follow it again`
  return new MillraceError('UNKNOWN_CHANNEL', message, { channel })
}

/** A consumer that was never started, or a stream that was never declared, has an empty table. */
async function orEmpty<Answer>({ defined }: Source, ask: () => Promise<Answer>, empty: Answer): Promise<Answer> {
  try {
    return await ask()
  } catch (error) {
    if (defined && isMillraceError(error, 'UNKNOWN_CHANNEL')) return empty
    throw error
  }
}

async function entryOf(source: Source, stored: StoredText): Promise<TableEntry> {
  return { ...placeOf(stored), value: await source.value(stored) }
}

function placeOf({ key, offset, timeMs }: StoredText): Omit<TableEntry, 'value'> {
  return { key: key ?? '', offset, storedAt: new Date(timeMs) }
}

/** @throws INVALID_OPTION */
function checkedKey(key: unknown, option: string): string {
  if (typeof key === 'string' && key !== '' && !key.includes('\0') && Buffer.byteLength(key) <= LIMITS.keyBytesMax)
    return key
  const message = `the ${option} of a table is text of 1 to ${LIMITS.keyBytesMax} bytes; it is ${shown(key)}`
  throw new MillraceError('INVALID_OPTION', message, { option })
}
