/**
 * What a repeated declaration makes of a channel, on every engine. A declaration with a changed schema is refused if
 * the change is proven to break the channel's `compatibility`: an example shows it. What cannot be proven is accepted.
 *
 * While old and new code run at once, both declare the channel again and again. So a declaration keeps the fingerprints
 * of the definitions that it had: code with one of them is accepted, and so is a rollback.
 */
import { createHash } from 'node:crypto'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { isStateChannel, stateChannelOf } from '../base/names.ts'
import type { ChannelSpec, Compatibility } from '../channel/channel.ts'
import { decidesSchemas, mergedSpec } from '../channel/merged-spec.ts'
import { type DeclaredEvent, storedEvents } from './declared-events.ts'
import { beforeOf, type EventBreak, judgeEvent } from './judged-event.ts'
import { textOf } from './lock-file.ts'

/** The definition of an event type that a declaration replaces by another one. */
interface Change {
  readonly before: DeclaredEvent
  readonly after: DeclaredEvent
  /** The fingerprints of both. */
  readonly was: string
  readonly is: string
}

/**
 * The declaration that is stored. Returns `existing` itself if nothing changes.
 * @throws CHANNEL_CONFLICT · INCOMPATIBLE_SCHEMA
 */
export function redeclared(existing: ChannelSpec, declared: ChannelSpec): ChannelSpec {
  const merged = mergedSpec(existing, declared)
  if (merged === existing) return existing
  const changes = changesOf(existing, declared)
  if (changes.length === 0) return merged
  const { compatibility = 'backward', name } = declared
  const registered = existing.registered ?? {}
  if (compatibility !== 'none') {
    const fresh = changes.filter(({ after: { type }, is }) => !known(registered, type).includes(is))
    const breaks = fresh.flatMap((change) => breaksOf(change, compatibility))
    const [first] = breaks
    if (first !== undefined) throw refusal(name, first, breaks.length)
  }
  return { ...merged, registered: withFormer(registered, changes, merged) }
}

function changesOf(existing: ChannelSpec, declared: ChannelSpec): Change[] {
  const stored = new Map(storedEvents(existing).map((event) => [event.type, event]))
  return storedEvents(declared).flatMap((after) => {
    const before = stored.get(after.type)
    if (before === undefined || !decidesSchemas(existing, declared, after.type)) return []
    const [was, is] = [fingerprintOf(before), fingerprintOf(after)]
    return was === is ? [] : [{ before, after, was, is }]
  })
}

function fingerprintOf({ version, schemas }: DeclaredEvent): string {
  return createHash('sha256').update(textOf({ version, schemas })).digest('base64url').slice(0, 16)
}

function known(registered: Readonly<Record<string, readonly string[]>>, type: string): readonly string[] {
  return Object.hasOwn(registered, type) ? (registered[type] ?? []) : []
}

/** The fingerprints, with those of the definitions that are replaced now. */
function withFormer(
  registered: Readonly<Record<string, readonly string[]>>,
  changes: readonly Change[],
  { types }: ChannelSpec,
): Record<string, readonly string[]> {
  const room = Math.floor(LIMITS.registeredInChannelMax / Math.max(1, types?.length ?? 0))
  const most = Math.max(1, Math.min(LIMITS.registeredDefinitionsMax, room))
  const former = changes.map(({ after: { type }, was, is }) => {
    const others = known(registered, type).filter((each) => each !== was && each !== is)
    return [type, [was, ...others].slice(0, most)] as const
  })
  return { ...registered, ...Object.fromEntries(former) }
}

interface TypeBreak extends EventBreak {
  readonly type: string
}

/**
 * The verdicts of some changes. A producer that is refused asks again with each event, and a verdict may take a tenth
 * of a second.
 */
const verdicts = new Map<string, readonly TypeBreak[]>()
const VERDICTS_MAX = 100

function breaksOf({ before, after, was, is }: Change, mode: Exclude<Compatibility, 'none'>): readonly TypeBreak[] {
  const { type } = after
  const name = JSON.stringify([type, was, is, mode])
  let breaks = verdicts.get(name)
  if (breaks === undefined) {
    breaks = judgeEvent(beforeOf(before), after, mode).breaks.map((found) => ({ type, ...found }))
    if (verdicts.size >= VERDICTS_MAX) verdicts.clear()
    verdicts.set(name, breaks)
  }
  return breaks
}

const EXAMPLE_CHARS_MAX = 2000
const SHOWN_CHARS_MAX = 200

function refusal(channel: string, { type, version, path, message, direction, ...rest }: TypeBreak, breaks: number) {
  const { example } = rest
  const isShort = JSON.stringify(example ?? null).length <= EXAMPLE_CHARS_MAX
  return refusedSchema({
    ...{ channel, type, version, path, reason: message, direction, breaks },
    ...(example !== undefined && isShort && { example }),
  })
}

interface Refusal {
  readonly channel: string
  readonly type: string
  readonly version: number
  readonly path: string
  readonly reason: string
  readonly direction: 'backward' | 'forward'
  readonly example?: unknown
  readonly breaks: number
  readonly consumers?: readonly string[]
}

function adviceFor(channel: string): string {
  if (!isStateChannel(channel))
    return "Add a version with nextVersion(), or accept the change with compatibility: 'none' in the channel's declaration, or with millrace check-events --register --allow"
  const consumer = channel.slice(stateChannelOf('').length)
  return `It is the state of consumer "${consumer}": keep the migrations of the versions that were declared, and raise version with a migrate from the one before. If the states are not needed, stop the consumer and remove it (broker.consumer("${consumer}").remove()): that deletes them`
}

/** The error for a declaration that is refused. */
export function refusedSchema(facts: Refusal): MillraceError {
  const { channel, type, version, path, reason, direction, example, breaks, consumers = [] } = facts
  const [newer, older] = ['the new schema', 'the schema that is declared']
  const [reader, writer] = direction === 'backward' ? [newer, older] : [older, newer]
  const shown = example === undefined ? '' : `, as in ${JSON.stringify(example).slice(0, SHOWN_CHARS_MAX)}`
  const more = breaks > 1 ? ` (and ${breaks - 1} more)` : ''
  const read = consumers.length === 0 ? '' : `. Consumers of the channel: ${consumers.join(', ')}`
  const message =
    `channel "${channel}": version ${version} of "${type}" was changed: ${reader} refuses data of ${writer}: ` +
    `${path}: ${reason}${shown}${more}${read}. ${adviceFor(channel)}`
  return new MillraceError('INCOMPATIBLE_SCHEMA', message, { ...facts })
}
