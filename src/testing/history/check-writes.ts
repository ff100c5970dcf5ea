/** Compares what was written with what was seen: losses, duplicates, and events that should not exist. */
import type { Anomaly, AnomalyName } from './anomaly.ts'
import { group, type HistoryIndex, type Written } from './history-index.ts'
import type { Drain, Operation, Poll } from './operation.ts'

function anomaly(name: AnomalyName, message: string, operations: readonly Operation[]): Anomaly {
  return { name, message, operations }
}

/** No value has two offsets, and no offset has two values. */
export function checkOffsets({ sends, polls }: HistoryIndex): Anomaly[] {
  const located = [...sends.filter((send) => send.outcome === 'ok' && send.offset !== null), ...polls] as {
    channel: string
    offset: number
    value: string
  }[]
  const found: Anomaly[] = []
  for (const [value, its] of group(located, (each) => each.value)) {
    const positions = new Set(its.map((each) => `${each.channel}/${each.offset}`))
    if (positions.size > 1)
      found.push(anomaly('duplicate', `${value} is at ${[...positions].join(' and ')}`, its as unknown as Operation[]))
  }
  for (const [position, its] of group(located, (each) => `${each.channel}/${each.offset}`)) {
    const values = new Set(its.map((each) => each.value))
    if (values.size > 1)
      found.push(
        anomaly(
          'inconsistent-offsets',
          `${position} holds ${[...values].join(' and ')}`,
          its as unknown as Operation[],
        ),
      )
  }
  return found
}

/** Events that were seen but should not exist, or were seen too early. */
export function checkVisibility({ written, seen }: HistoryIndex): Anomaly[] {
  const found: Anomaly[] = []
  for (const [value, polls] of seen) {
    const write = written.get(value)
    const [first] = polls as [Poll, ...Poll[]]
    if (write === undefined) found.push(anomaly('phantom-read', `${value} was seen and never sent`, polls))
    else if (write.refused && !write.acknowledged)
      found.push(
        anomaly('aborted-read', `${value} was refused or given up, and was seen`, [...write.operations, ...polls]),
      )
    else if (first.time < write.visibleFrom)
      found.push(anomaly('precommitted-read', `${value} was seen before it was there`, [...write.operations, first]))
  }
  return found
}

/** Acknowledged events that a consumer, or all readers together, did not see. */
export function checkLosses(index: HistoryIndex): Anomaly[] {
  const found: Anomaly[] = []
  const byChannel = group(
    [...index.written.values()].filter((write) => write.acknowledged),
    (write) => write.channel,
  )
  const observers = new Set<string | null>([
    ...index.polls.map((poll) => poll.consumer),
    ...index.drains.map((drain) => drain.consumer),
  ])
  for (const observer of observers) {
    const polls = group(
      index.polls.filter((poll) => poll.consumer === observer),
      (poll) => poll.channel,
    )
    const drains = index.drains.filter((drain) => drain.consumer === observer)
    for (const [channel, writes] of byChannel) {
      const drained = drains.filter((drain) => drain.channels.includes(channel))
      found.push(...lossesOf(observer, channel, writes, polls.get(channel) ?? [], drained))
    }
  }
  return found
}

function lossesOf(
  observer: string | null,
  channel: string,
  writes: readonly Written[],
  polls: readonly Poll[],
  drains: readonly Drain[],
): Anomaly[] {
  const last = drains.at(-1)
  const drained = drains.length > 0
  const seen = new Set(polls.map((poll) => poll.value))
  const lowest = polls.reduce((least, poll) => Math.min(least, poll.offset), Number.POSITIVE_INFINITY)
  const highest = polls.reduce((most, poll) => Math.max(most, poll.offset), Number.NEGATIVE_INFINITY)
  const who = observer === null ? 'readers' : `consumer "${observer}"`
  const found: Anomaly[] = []
  for (const write of writes) {
    if (seen.has(write.value)) continue
    if (last !== undefined && write.operations.some((operation) => operation.time > last.time)) continue
    const name = lossName(write.offset, lowest, highest, drained)
    if (name !== null)
      found.push(
        anomaly(
          name,
          `${write.value}, acknowledged on "${channel}"${write.offset === null ? '' : ` at ${write.offset}`}, was not seen by ${who}`,
          write.operations,
        ),
      )
  }
  return found
}

/** The name of a loss; null without a drain, because the event may still come. */
function lossName(offset: number | null, lowest: number, highest: number, drained: boolean): AnomalyName | null {
  if (!drained) return null
  if (offset === null || highest === Number.NEGATIVE_INFINITY) return 'unseen'
  if (offset < lowest) return 'lost-write-prefix'
  return offset < highest ? 'lost-write-middle' : 'lost-write-postfix'
}

/**
 * Clause 12: each emission of an event's handling exists at most once, and exists after a drain if the event was done.
 * `checkVisibility` finds emissions of an attempt that failed.
 */
export function checkEmissions({ emits, written, seen, drains }: HistoryIndex): Anomaly[] {
  const found: Anomaly[] = []
  for (const [, its] of group(emits, (emit) => JSON.stringify([emit.consumer, emit.cause, emit.channel, emit.slot]))) {
    const [{ consumer, cause, channel, slot }] = its as [(typeof its)[0]]
    const there = its.filter((emit) => seen.has(emit.value))
    const what = `what "${consumer}" emits to "${channel}" (${slot}) for ${cause}`
    if (there.length > 1)
      found.push(
        anomaly('emission-doubled', `${what} was seen as ${there.map((emit) => emit.value).join(' and ')}`, its),
      )
    const succeeded = its.filter((emit) => written.get(emit.value)?.acknowledged)
    const after = Math.max(
      ...succeeded.flatMap((emit) => written.get(emit.value)?.operations ?? []).map((operation) => operation.time),
    )
    const drained = drains.some((drain) => drain.channels.includes(channel) && drain.time >= after)
    if (succeeded.length > 0 && there.length === 0 && drained)
      found.push(anomaly('emission-lost', `${what} is not there, and the event was done`, its))
  }
  return found
}
