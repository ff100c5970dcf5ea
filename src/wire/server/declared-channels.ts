/**
 * Channels as they are declared, known for a moment: what a stranger publishes or emits must be what the declaration says, whatever program made it. A
 * client in another language has no code of the channel: its keys are taken here, and its data is judged by the kept schema.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { EncodedEvent, Engine } from '../../broker/engine.ts'
import { type KeptTarget, keptTarget } from '../../broker/kept-target.ts'
import type { NewEvent } from '../../event/cloud-event.ts'
import { schemaOutput } from '../../event/schema.ts'
import { checkEvent, checkKeyOf } from './checks.ts'

/** How long a channel is taken to be as it was. */
const AGE_MS = 1000
const KNOWN_MAX = 1000

interface Known {
  /** Null where there is no such channel: the engine says so. */
  readonly target: KeptTarget | null
  readonly untilMs: number
}

export class DeclaredChannels {
  readonly #engine: Pick<Engine, 'channel'>
  readonly #known = new Map<string, Known>()

  constructor(engine: Pick<Engine, 'channel'>) {
    this.#engine = engine
  }

  /** Whether all of them were looked at lately. */
  areFresh(names: readonly string[]): boolean {
    const nowMs = performance.now()
    return names.every((name) => (this.#known.get(name)?.untilMs ?? 0) >= nowMs)
  }

  async look(name: string): Promise<void> {
    const spec = await this.#engine.channel(name)
    if (this.#known.size >= KNOWN_MAX && !this.#known.has(name)) this.#known.clear()
    this.#known.set(name, { target: spec === undefined ? null : keptTarget(spec), untilMs: performance.now() + AGE_MS })
  }

  /** Look at those that were not looked at lately. What cannot be looked at is taken to be as it was. */
  async lookAt(names: readonly string[]): Promise<void> {
    await Promise.allSettled(names.filter((name) => !this.areFresh([name])).map((name) => this.look(name)))
  }

  /**
   * The event as it is stored. `keyed`: the sender has the channel's code. It has judged the data, and the key is what its key function gave, which may be none.
   * @throws INVALID_EVENT · EVENT_TOO_LARGE · TYPE_NOT_CARRIED · SCHEMA_MISMATCH · UNAVAILABLE
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
  const { key: spec } = target.spec
  // A sender that has the channel's code has judged the data by its definition, as a process on any other engine has.
  const schema = keyed ? undefined : target.kept.get(event.type)
  const path = typeof spec === 'object' && spec !== null ? spec.path : ''
  // Not read where nobody asks for it.
  const wanted = dataText !== undefined && (schema !== undefined || path.startsWith('data.'))
  const data: unknown = wanted ? JSON.parse(dataText) : undefined
  if (schema !== undefined) schemaOutput(schema, data ?? null, event, 'published')
  if (path === '' && (event.key !== null || keyed)) return event
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

/** As the declaration says. Where it says nothing, or there is a function that only the application has, it is in the attribute `partitionkey`. */
function keyOf({ keyOf: declared }: KeptTarget, event: NewEvent): string | null {
  return (declared === undefined ? event.partitionkey : declared(event)) ?? null
}
