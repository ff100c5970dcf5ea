/** A history, indexed for the checks. Built once. */
import type { Dead, Done, Drain, Emit, End, Operation, Poll, Send } from './operation.ts'

/** What is known of one value. */
export interface Written {
  readonly value: string
  readonly channel: string
  readonly key: string | null
  /** Acknowledged, by the answer to a send or by its handler's success. */
  acknowledged: boolean
  /** It certainly did not happen. */
  refused: boolean
  offset: number | null
  /** If it was seen before this time, it was seen too early. */
  visibleFrom: number
  readonly operations: Operation[]
}

export interface HistoryIndex {
  readonly sends: readonly Send[]
  readonly polls: readonly Poll[]
  readonly dones: readonly Done[]
  readonly emits: readonly Emit[]
  readonly deads: readonly Dead[]
  readonly ends: readonly End[]
  readonly drains: readonly Drain[]
  readonly written: ReadonlyMap<string, Written>
  /** Polls by value. */
  readonly seen: ReadonlyMap<string, readonly Poll[]>
}

function group<K, T>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const group = groups.get(key(item))
    if (group === undefined) groups.set(key(item), [item])
    else group.push(item)
  }
  return groups
}

export { group }

function only<A extends Operation['action']>(
  history: readonly Operation[],
  action: A,
): Extract<Operation, { action: A }>[] {
  return history.filter((operation): operation is Extract<Operation, { action: A }> => operation.action === action)
}

export function attemptKey(of: { readonly consumer: string; readonly attempt: number }, cause: string): string {
  return JSON.stringify([of.consumer, cause, of.attempt])
}

export function indexHistory(history: readonly Operation[]): HistoryIndex {
  const sorted = [...history].sort((a, b) => a.time - b.time)
  const [sends, polls, dones, emits] = [
    only(sorted, 'send'),
    only(sorted, 'poll'),
    only(sorted, 'done'),
    only(sorted, 'emit'),
  ]
  const written = new Map<string, Written>()
  for (const send of sends) noteSend(written, send)
  noteEmissions(written, emits, dones)
  return {
    sends,
    polls,
    dones,
    emits,
    deads: only(sorted, 'dead'),
    ends: only(sorted, 'end'),
    drains: only(sorted, 'drain'),
    written,
    seen: group(polls, (poll) => poll.value),
  }
}

function noteSend(written: Map<string, Written>, send: Send): void {
  const { value, channel, key, outcome, offset, time } = send
  let entry = written.get(value)
  if (entry === undefined) {
    entry = {
      value,
      channel,
      key,
      acknowledged: false,
      refused: false,
      offset: null,
      visibleFrom: time,
      operations: [],
    }
    written.set(value, entry)
  }
  entry.operations.push(send)
  if (outcome === 'ok') {
    entry.acknowledged = true
    entry.offset = offset
  }
  if (outcome === 'fail') entry.refused = true
}

/** An emission is a write with the outcome of its attempt. An attempt without an end has an unknown outcome. */
function noteEmissions(written: Map<string, Written>, emits: readonly Emit[], dones: readonly Done[]): void {
  const ends = group(dones, (done) => attemptKey(done, done.value))
  for (const emit of emits) {
    const { value, channel, key } = emit
    const its = (ends.get(attemptKey(emit, emit.cause)) ?? []).filter(
      (done) => done.process === emit.process && done.time >= emit.time,
    )
    const invoked = its.find((done) => done.outcome === 'invoke')
    const ended = its.find((done) => done.outcome !== 'invoke')
    written.set(value, {
      value,
      channel,
      key,
      acknowledged: ended?.outcome === 'ok',
      refused: ended?.outcome === 'fail',
      offset: null,
      visibleFrom: (invoked ?? ended)?.time ?? Number.POSITIVE_INFINITY,
      operations: [emit, ...its],
    })
  }
}
