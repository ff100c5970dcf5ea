/**
 * A short-lived cache of channel declarations. Every event that an untrusted client publishes or emits must fit the
 * declaration.
 *
 * A client in another language does not have the channel's code: this end computes its keys and checks its data against
 * the stored schema.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Engine } from '../../broker/engine.ts'
import { type KeptTarget, keptTarget } from '../../broker/kept-target.ts'
import { refuseMasked } from '../../broker/masked-publish.ts'
import type { NewEvent } from '../../event/cloud-event.ts'
import { schemaOutput } from '../../event/schema.ts'
import { checkEvent, checkKeyOf } from './checks.ts'

/** How long a cached declaration is used. */
const AGE_MS = 1000
const KNOWN_MAX = 1000

interface Known {
  /** Null if there is no such channel; the engine then answers with the error. */
  readonly target: KeptTarget | null
  readonly untilMs: number
}

export class DeclaredChannels {
  readonly #engine: Pick<Engine, 'channel'>
  readonly #known = new Map<string, Known>()

  constructor(engine: Pick<Engine, 'channel'>) {
    this.#engine = engine
  }

  /** Whether all of them are in the cache and not expired. */
  areFresh(names: readonly string[]): boolean {
    const nowMs = performance.now()
    return names.every((name) => (this.#known.get(name)?.untilMs ?? 0) >= nowMs)
  }

  async look(name: string): Promise<void> {
    const spec = await this.#engine.channel(name)
    if (this.#known.size >= KNOWN_MAX && !this.#known.has(name)) this.#known.clear()
    this.#known.set(name, { target: spec === undefined ? null : keptTarget(spec), untilMs: performance.now() + AGE_MS })
  }

  /** Read those that are missing or expired. If a read fails, the old declaration stays in use. */
  async lookAt(names: readonly string[]): Promise<void> {
    await Promise.allSettled(names.filter((name) => !this.areFresh([name])).map((name) => this.look(name)))
  }

  /**
   * The event as it must be stored. `keyed`: the sender has the channel's code, so it has checked the data, and the key
   * (or none) comes from its key function.
   * @throws INVALID_EVENT · EVENT_TOO_LARGE · TYPE_NOT_CARRIED · SCHEMA_MISMATCH · UNKNOWN_VERSION ·
   * UNAVAILABLE
   */
  checked(name: string, event: EncodedEvent, keyed: boolean): EncodedEvent {
    const known = this.#known.get(name)
    if (known === undefined)
      throw new MillraceError('UNAVAILABLE', `channel "${name}" cannot be read now: try again later`, { channel: name })
    if (known.target !== null) return asDeclared(known.target, event, keyed)
    checkEvent({ name, types: null, eventBytesMax: LIMITS.eventBytesMax }, event)
    return event
  }
}

function asDeclared(target: KeptTarget, event: EncodedEvent, keyed: boolean): EncodedEvent {
  const { attributes, dataText } = checkEvent(target.spec, event)
  refuseMasked(target.spec, event)
  const { key: spec } = target.spec
  // A sender with the channel's code has already checked the data against its definition, as a process on any other
  // engine does.
  const schema = keyed ? undefined : target.keptSchema({ ...attributes, type: event.type, id: event.id })
  const path = typeof spec === 'object' && spec !== null ? spec.path : ''
  // The data is parsed only if a schema or the key needs it.
  const wanted = dataText !== undefined && (schema !== undefined || path.startsWith('data.'))
  const data: unknown = wanted ? JSON.parse(dataText) : undefined
  if (schema !== undefined) schemaOutput(schema, data ?? null, event, 'published')
  // With `key: false` the event has no key, whatever the client sends.
  if (path === '' && (keyed || (event.key !== null && spec !== null))) return event
  const key = keyOf(
    target,
    (path.startsWith('data.') ? { id: event.id, type: event.type, data } : attributes) as unknown as NewEvent,
  )
  if (key === event.key) return event
  const { id, type, text } = event
  const stored = { id, type, key, text }
  checkKeyOf(stored, target.name)
  return stored
}

/**
 * The key that the declaration defines. If it does not say, or has a function that only the application has, the key is
 * in the attribute `partitionkey`.
 */
function keyOf({ keyOf: declared }: KeptTarget, event: NewEvent): string | null {
  return (declared === undefined ? event.partitionkey : declared(event)) ?? null
}
