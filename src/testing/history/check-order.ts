/** Checks of order: of one reader, of one producer, and of each key within a consumer. */
import type { Anomaly } from './anomaly.ts'
import { group, type HistoryIndex } from './history-index.ts'
import type { Dead, Done, End, Poll } from './operation.ts'

/** A reader's offsets increase, and it skips no event that existed. */
export function checkReaders({ polls, written }: HistoryIndex): Anomaly[] {
  const found: Anomaly[] = []
  const there = group(
    [...written.values()].filter((write) => write.acknowledged && write.offset !== null),
    (write) => write.channel,
  )
  const readers = group(
    polls.filter((poll) => poll.consumer === null),
    (poll) => JSON.stringify([poll.process, poll.channel]),
  )
  for (const its of readers.values()) {
    const known = new Map((there.get((its[0] as Poll).channel) ?? []).map((write) => [write.offset as number, write]))
    for (let at = 1; at < its.length; at++) {
      const [before, after] = [its[at - 1] as Poll, its[at] as Poll]
      const operations = [before, after]
      if (after.offset <= before.offset) {
        found.push({
          name: 'non-monotonic-poll',
          message: `reader ${after.process} was given ${after.offset} after ${before.offset}`,
          operations,
        })
      }
      for (let offset = before.offset + 1; offset < after.offset; offset++) {
        const write = known.get(offset)
        if (write === undefined) continue
        found.push({
          name: 'skip',
          message: `reader ${after.process} went from ${before.offset} to ${after.offset}, past ${write.value}`,
          operations: [...operations, ...write.operations],
        })
      }
    }
  }
  return found
}

/** If a producer's send began after an earlier one was acknowledged, its event has the higher offset. */
export function checkSends({ sends }: HistoryIndex): Anomaly[] {
  const found: Anomaly[] = []
  const begun = new Map(sends.filter((send) => send.outcome === 'invoke').map((send) => [send.value, send.time]))
  for (const its of group(
    sends.filter((send) => send.outcome === 'ok' && send.offset !== null),
    (send) => JSON.stringify([send.process, send.channel]),
  ).values()) {
    let highest: (typeof its)[0] | undefined
    for (const send of its) {
      if (
        highest !== undefined &&
        (send.offset as number) < (highest.offset as number) &&
        (begun.get(send.value) ?? send.time) >= highest.time
      ) {
        const message = `${send.process} was told ${send.offset} for ${send.value}, after ${highest.offset} for ${highest.value}`
        found.push({ name: 'non-monotonic-send', message, operations: [highest, send] })
      }
      if (highest === undefined || (send.offset as number) > (highest.offset as number)) highest = send
    }
  }
  return found
}

type Step = Poll | Done | Dead | End

/** What one consumer does with the events of one key, or with one event without a key. */
class KeyChecks {
  readonly #what: string
  readonly #keyed: boolean
  readonly #doneOnce: boolean
  /** Deliveries in progress, by process and offset. */
  readonly #held = new Map<string, Poll>()
  /** Done or dead-lettered. */
  readonly #over = new Map<number, Step>()
  /** Deliveries that are not over, each with its first poll. */
  readonly #open = new Map<number, Poll>()
  readonly #offsets: readonly number[]
  #below = 0
  readonly found: Anomaly[] = []

  constructor(what: string, keyed: boolean, offsets: readonly number[], doneOnce: boolean) {
    this.#what = what
    this.#keyed = keyed
    this.#offsets = offsets
    this.#doneOnce = doneOnce
  }

  poll(poll: Poll): void {
    for (const other of this.#held.values()) {
      this.found.push({
        name: 'overlap',
        message: `${this.#what}: ${poll.value} was handed out while ${other.value} was in flight`,
        operations: [other, poll],
      })
    }
    const done = this.#over.get(poll.offset)
    if (done !== undefined && this.#doneOnce && poll.again !== true) {
      this.found.push({
        name: 'done-again',
        message: `${this.#what}: ${poll.value} was handed out after it was done`,
        operations: [done, poll],
      })
    }
    if (this.#keyed) this.#checkEarlier(poll)
    this.#held.set(`${poll.process}/${poll.offset}`, poll)
    if (!this.#open.has(poll.offset)) this.#open.set(poll.offset, poll)
  }

  /** Checks that every earlier event of the key is over. */
  #checkEarlier(poll: Poll): void {
    while (this.#below < this.#offsets.length && this.#over.has(this.#offsets[this.#below] as number)) this.#below++
    const first = this.#offsets[this.#below]
    if (first === undefined || first >= poll.offset || this.#over.has(poll.offset)) return
    const earlier = this.#open.get(first)
    this.found.push({
      name: 'order-by-key',
      message: `${this.#what}: ${poll.value} at ${poll.offset} was handed out before the one at ${first} was done`,
      operations: earlier === undefined ? [poll] : [earlier, poll],
    })
  }

  done(done: Done): void {
    this.#held.delete(`${done.process}/${done.offset}`)
    if (done.outcome === 'ok') this.#over.set(done.offset, done)
  }

  dead(dead: Dead): void {
    this.#over.set(dead.offset, dead)
  }

  end(process: string): void {
    for (const [key, poll] of this.#held) if (poll.process === process) this.#held.delete(key)
  }
}

/**
 * Within a consumer, events of a key are handled one at a time and in order. An event without a key is handled by one
 * instance at a time.
 */
export function checkKeys({ polls, dones, deads, ends }: HistoryIndex, doneOnce: boolean): Anomaly[] {
  const lanes = new Map<string, KeyChecks>()
  const given = polls.filter((poll) => poll.consumer !== null)
  const keyOf = new Map(given.map((poll) => [`${poll.channel}/${poll.offset}`, poll.key]))
  const handed = new Map<string, Set<number>>()
  for (const poll of given) {
    const id = JSON.stringify([poll.consumer, poll.channel, poll.key ?? poll.offset])
    handed.set(id, (handed.get(id) ?? new Set()).add(poll.offset))
  }
  const laneOf = (consumer: string, channel: string, offset: number): KeyChecks => {
    const key = keyOf.get(`${channel}/${offset}`) ?? null
    const id = JSON.stringify([consumer, channel, key ?? offset])
    let lane = lanes.get(id)
    if (lane === undefined) {
      // An event of the key that the consumer never received is a loss and not a disorder, so it is not expected here.
      const expected = key === null ? [] : [...(handed.get(id) ?? [])].sort((a, b) => a - b)
      lane = new KeyChecks(
        `"${consumer}" on "${channel}"${key === null ? '' : `, key ${key}`}`,
        key !== null,
        expected,
        doneOnce,
      )
      lanes.set(id, lane)
    }
    return lane
  }
  const steps: Step[] = [...given, ...dones.filter((done) => done.outcome !== 'invoke'), ...deads, ...ends]
  const rank = { end: 0, done: 1, dead: 2, poll: 3 } as const
  steps.sort((a, b) => a.time - b.time || rank[a.action] - rank[b.action])
  for (const step of steps) {
    if (step.action === 'end') for (const lane of lanes.values()) lane.end(step.process)
    else if (step.action === 'poll') laneOf(step.consumer as string, step.channel, step.offset).poll(step)
    else if (step.action === 'done') laneOf(step.consumer, step.channel, step.offset).done(step)
    else laneOf(step.consumer, step.channel, step.offset).dead(step)
  }
  return [...lanes.values()].flatMap((lane) => lane.found)
}
