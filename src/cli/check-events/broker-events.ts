/** What a broker knows of the events that are checked: its declarations, its events, and what reads them. */
import { isMillraceError } from '../../base/errors.ts'
import { isJsonObject } from '../../base/json-object.ts'
import { compileWildcard, isWildcard } from '../../base/names.ts'
import type { Broker } from '../../broker/broker.ts'
import { engineOf } from '../../broker/engine-of.ts'
import { type DeclaredEvent, nameOf, storedEvents } from '../../compatibility/declared-events.ts'
import { beforeOf, type EventVerdict, judgeEvent } from '../../compatibility/judged-event.ts'
import type { CompatibilityMode } from '../../compatibility/schema-change.ts'
import { inNewest } from '../../event/event-version.ts'
import { rulesOf } from '../../rules/rules.ts'

export interface ComparedEvent extends EventVerdict {
  readonly against: 'lock file' | 'broker'
  /** The consumers of the channel. */
  readonly consumers: readonly string[]
  /** The rules whose condition or actions name one of the fields that break. */
  readonly rules: readonly string[]
}

/** The kept events of a type, read with the code's definition. */
export interface RetainedEvents {
  readonly event: string
  /** Events kept in the channel, of any type. */
  readonly kept: number
  /** The newest of them that were read. */
  readonly read: number
  /** Of these, the events of this type. */
  readonly ofType: number
  readonly failed: number
  readonly examples: readonly { readonly offset: number; readonly message: string }[]
}

const EXAMPLES_MAX = 3

export async function eventsOfBroker(
  broker: Broker,
  declared: readonly DeclaredEvent[],
  mode: CompatibilityMode,
  sample: number,
): Promise<{ readonly compared: ComparedEvent[]; readonly retained: RetainedEvents[] }> {
  const compared: ComparedEvent[] = []
  const retained: RetainedEvents[] = []
  for (const channel of new Set(declared.map((event) => event.channel))) {
    const spec = channel === null ? undefined : await engineOf(broker).channel(channel)
    if (channel === null || spec === undefined) continue
    const events = declared.filter((event) => event.channel === channel)
    const stored = storedEvents(spec)
    const consumers = await consumersOf(broker, channel)
    const rules = await rulesOn(broker, channel)
    for (const event of events) {
      const before = stored.find(({ type }) => type === event.type)
      if (before === undefined) continue
      const judged = judgeEvent(beforeOf(before), event, mode)
      const fields = judged.breaks.map(({ path }) => path)
      compared.push({
        ...judged,
        against: 'broker',
        consumers: judged.breaks.length === 0 ? [] : consumers,
        rules: rules.filter((rule) => fields.some((field) => names(rule.definition, field))).map(({ name }) => name),
      })
    }
    if (spec.kind === 'stream') retained.push(...(await readRetained(broker, channel, events, sample)))
  }
  return { compared, retained }
}

async function consumersOf(broker: Broker, channel: string): Promise<string[]> {
  const { consumers } = await broker.describe()
  return consumers.filter((each) => each.channels.some((place) => place.channel === channel)).map(({ name }) => name)
}

interface NamedRule {
  readonly name: string
  readonly definition: unknown
}

async function rulesOn(broker: Broker, channel: string): Promise<NamedRule[]> {
  const rules = await rulesOf(broker).list()
  return rules.filter(({ definition }) =>
    [definition.on].flat().some((on) => (isWildcard(on) ? compileWildcard(on)(channel) : on === channel)),
  )
}

/** Whether a rule may name a field: its condition has it as a member, or one of its texts has it as a path. */
function names(rule: unknown, field: string): boolean {
  const path = field.replaceAll('[]', '').replaceAll('.*', '')
  if (path === 'data') return true
  return textsIn(rule).some((text) => text.includes(path)) || hasPath(rule, path.split('.'))
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : []
}

/** Whether the members of the path are below each other, anywhere in the value. */
function hasPath(value: unknown, path: readonly string[]): boolean {
  if (Array.isArray(value)) return value.some((each) => hasPath(each, path))
  if (!isJsonObject(value)) return false
  return leads(value, path) || Object.values(value).some((member) => hasPath(member, path))
}

function leads(value: unknown, [first, ...rest]: readonly string[]): boolean {
  if (first === undefined) return true
  if (Array.isArray(value)) return value.some((each) => leads(each, [first, ...rest]))
  return isJsonObject(value) && Object.hasOwn(value, first) && leads(value[first], rest)
}

/** Read the newest events of a channel with the code's definitions. */
async function readRetained(
  broker: Broker,
  channel: string,
  events: readonly DeclaredEvent[],
  sample: number,
): Promise<RetainedEvents[]> {
  const { first, next } = await broker.channel(channel).bounds()
  const from = Math.max(first, next - sample)
  const counts = new Map(
    events.map((event) => [
      event.type,
      { ofType: 0, failed: 0, examples: [] as { offset: number; message: string }[] },
    ]),
  )
  let read = 0
  for await (const event of broker.read(channel, { from: { offset: from }, to: { offset: next } })) {
    read++
    const definition = events.find(({ type }) => type === event.type)?.definition
    const count = counts.get(event.type)
    if (definition === undefined || count === undefined) continue
    count.ofType++
    try {
      await inNewest(definition, event, { type: event.type, id: event.id, channel, offset: event.offset }, 'read')
    } catch (error) {
      if (!isMillraceError(error)) throw error
      count.failed++
      if (count.examples.length < EXAMPLES_MAX) count.examples.push({ offset: event.offset, message: error.message })
    }
  }
  return events.map((event) => {
    const found = counts.get(event.type) ?? { ofType: 0, failed: 0, examples: [] }
    return { event: nameOf(event), kept: next - first, read, ...found }
  })
}
