/** What a copy would carry, and how the target supports it. It is determined before anything is written. */
import { MillraceError } from '../base/errors.ts'
import { compileWildcard, isStateChannel, isWildcard, stateChannelOf } from '../base/names.ts'
import { type Capability, CLAUSES, type Clause } from '../broker/capabilities.ts'
import type { CarriedConsumer } from '../broker/carriage.ts'
import type { Engine } from '../broker/engine.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { offsetRank } from '../rules/stored-offsets.ts'
import { COPIES } from './copy-ledger.ts'
import { lettersOf } from './source-events.ts'

export interface CopySelection {
  /** Names and wildcards. @default all but `$audit`, which is the server's own record */
  readonly channels?: readonly string[]
  /** Names of consumers of streams. A queue is always copied with its state. @default all */
  readonly consumers?: readonly string[]
  /** Clauses that the target may refuse. @default none */
  readonly accept?: readonly number[]
}

export interface PlannedChannel {
  readonly spec: ChannelSpec
  readonly first: number
  readonly next: number
  /** The number of offsets in use. It is the number of events if the source has no gaps. */
  readonly events: number
  /** Null if the source does not know. */
  readonly bytes: number | null
  readonly scheduled: number
  readonly consumers: readonly CarriedConsumer[]
  readonly deadLetters: number
  /** Events that wait behind dead letters, and redriven events. */
  readonly waiting: number
}

/** A clause that the copied data needs, and how the target supports it. */
export interface NeededClause extends Capability {
  readonly clause: Clause
  readonly name: string
  /** The part of the copy that needs it. */
  readonly neededBy: string
}

export interface CopyPlan {
  readonly from: string
  readonly to: string
  /** The channels in the order in which they are copied. */
  readonly channels: readonly PlannedChannel[]
  readonly needs: readonly NeededClause[]
  /** Whether events keep their original times at the target. */
  readonly keepsTimes: boolean
  /** The largest event that the target accepts. */
  readonly eventBytesMax: number
  /** Reasons, as sentences. Nothing is copied if there is one. */
  readonly refusals: readonly string[]
}

/** What belongs to the place where it was recorded is copied only if it is named. */
function isOfPlace(name: string): boolean {
  return name === '$audit' || name === '$flow' || name.startsWith('$metrics.')
}

function chosen(names: readonly string[] | undefined): (name: string) => boolean {
  if (names === undefined) return () => true
  const tests = names.map((each) => (isWildcard(each) ? compileWildcard(each) : (name: string) => name === each))
  return (name) => tests.some((test) => test(name))
}

/**
 * Plans a copy: what is copied, and what the target cannot hold.
 * @throws UNKNOWN_CHANNEL · UNKNOWN_CONSUMER when a given name does not exist
 */
export async function planCopy(source: Engine, target: Engine, selection: CopySelection): Promise<CopyPlan> {
  const { channels: described, consumers } = await source.describe()
  known('UNKNOWN_CHANNEL', selection.channels, new Set(described.map(({ name }) => name)))
  known('UNKNOWN_CONSUMER', selection.consumers, new Set(consumers.map(({ name }) => name)))
  const { eventBytesMax, keepsTimes } = await target.carriage.accepts()
  const takes = chosen(selection.channels)
  const refusals: string[] = []
  const channels: PlannedChannel[] = []
  for (const { name, first, next, bytes, scheduled } of described) {
    if (name === COPIES || !takes(name) || (isOfPlace(name) && selection.channels === undefined)) continue
    const spec = await source.channel(name)
    if (spec === undefined) continue
    const takesConsumer = chosen(selection.consumers)
    const its = (await source.carriage.consumers(name)).filter(
      ({ consumer }) => consumer === null || takesConsumer(consumer),
    )
    channels.push({
      // The source has accepted its schemas.
      spec: { ...spec, compatibility: 'none' },
      first,
      next,
      events: next - first,
      bytes,
      scheduled,
      consumers: its,
      ...(await countLetters(source, name, its, eventBytesMax, refusals)),
    })
  }
  channels.sort((a, b) => offsetRank(a.spec.name) - offsetRank(b.spec.name) || (a.spec.name < b.spec.name ? -1 : 1))
  const needs = needsOf(channels, target)
  for (const { clause, name, reason, neededBy, support } of needs) {
    if (support !== 'refused' || selection.accept?.includes(clause) === true) continue
    refusals.push(`${target.name} refuses clause ${clause} (${name}), which is needed by ${neededBy}: ${reason}`)
  }
  refusals.push(...statesLeftOut(channels, new Set(described.map(({ name }) => name))))
  return { from: source.name, to: target.name, channels, needs, keepsTimes, eventBytesMax, refusals }
}

/** A consumer that goes on at its position without its state would count what it has handled as never seen. */
function statesLeftOut(channels: readonly PlannedChannel[], described: ReadonlySet<string>): string[] {
  const copied = new Set(channels.map(({ spec }) => spec.name))
  const consumers = new Set(channels.flatMap((channel) => channel.consumers.flatMap(({ consumer }) => consumer ?? [])))
  return [...consumers]
    .filter((name) => described.has(stateChannelOf(name)) && !copied.has(stateChannelOf(name)))
    .map((name) => `consumer "${name}" keeps state in "${stateChannelOf(name)}": copy that channel too`)
}

function known(
  code: 'UNKNOWN_CHANNEL' | 'UNKNOWN_CONSUMER',
  names: readonly string[] | undefined,
  there: ReadonlySet<string>,
): void {
  for (const name of names ?? []) {
    if (isWildcard(name) || there.has(name)) continue
    const what = code === 'UNKNOWN_CHANNEL' ? 'channel' : 'consumer'
    throw new MillraceError(code, `the source has no ${what} "${name}": list what it has, and correct the name`, {
      [what]: name,
    })
  }
}

async function countLetters(
  source: Engine,
  channel: string,
  consumers: readonly CarriedConsumer[],
  eventBytesMax: number,
  refusals: string[],
): Promise<{ readonly deadLetters: number; readonly waiting: number }> {
  const counts = { deadLetters: 0, waiting: 0 }
  const [none, large]: [Set<string>, Set<string>] = [new Set(), new Set()]
  for (const { consumer } of consumers) {
    for await (const letter of lettersOf(source.carriage, channel, consumer)) {
      if (letter.state === 'dead') counts.deadLetters++
      else counts.waiting++
      if (letter.type === '') none.add(letter.consumer)
      if (Buffer.byteLength(letter.text) > eventBytesMax) large.add(letter.consumer)
    }
  }
  for (const name of none)
    refusals.push(
      `consumer "${name}" has dead letters of "${channel}" that are not events, which cannot be stored elsewhere: drop them first`,
    )
  for (const name of large)
    refusals.push(
      `consumer "${name}" has dead letters of "${channel}" that are larger than the ${eventBytesMax} bytes that the target takes: drop them first`,
    )
  return counts
}

/** The clauses that the copied data needs. */
function needsOf(channels: readonly PlannedChannel[], { capabilities }: Engine): NeededClause[] {
  const uses: [Clause, (channel: PlannedChannel) => boolean][] = [
    [1, () => true],
    [2, ({ consumers }) => consumers.length > 0],
    [3, ({ consumers }) => consumers.length > 0],
    [4, ({ consumers }) => consumers.length > 0],
    [5, ({ consumers }) => consumers.some(({ retries }) => retries.length > 0)],
    [6, ({ deadLetters, waiting }) => deadLetters + waiting > 0],
    [7, ({ scheduled }) => scheduled > 0],
    [8, ({ spec }) => spec.dedupe !== null],
    [9, ({ spec }) => spec.kind === 'stream'],
    [11, ({ consumers }) => consumers.length > 0],
    [12, ({ spec }) => spec.name === '$rules'],
    [
      13,
      ({ spec: { retain } }) =>
        retain.ageMs !== null || retain.bytes !== null || retain.count !== null || retain.latestByKey,
    ],
    [19, ({ spec }) => isStateChannel(spec.name)],
  ]
  return uses.flatMap(([clause, uses]) => {
    const by = channels.filter(uses).map(({ spec }) => `"${spec.name}"`)
    if (by.length === 0) return []
    const neededBy = by.length <= 3 ? by.join(', ') : `${by.slice(0, 2).join(', ')} and ${by.length - 2} more`
    return [{ clause, name: CLAUSES[clause], neededBy, ...capabilities[clause] }]
  })
}
