/** A store under a random load, with a model of what it must contain after each commit. */

import type { DiskStore } from '../../src/engines/embedded/storage/disk-store.ts'
import type { Frame, Store, StoredBlock } from '../../src/engines/embedded/store.ts'
import { encodeBlock } from '../../src/event/block.ts'

export function randomFrom(seed: number): () => number {
  let state = seed >>> 0 || 1
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

export const CHANNELS = [1, 2, 3]

/** Events by channel and offset, and records, as text for comparison. */
export interface Content {
  readonly events: Readonly<Record<string, string>>
  readonly records: Readonly<Record<string, string>>
}

export class Model {
  #events = new Map<string, string>()
  #records = new Map<string, string>()
  readonly next = new Map<number, number>()
  readonly first = new Map<number, number>()

  clone(): Model {
    const copy = new Model()
    copy.#events = new Map(this.#events)
    copy.#records = new Map(this.#records)
    for (const [channel, next] of this.next) copy.next.set(channel, next)
    for (const [channel, first] of this.first) copy.first.set(channel, first)
    return copy
  }

  /** Whether a store with this content agrees with the model. Trimmed events may still be there. */
  is(found: Content): boolean {
    const wanted = this.content()
    const events = Object.entries(found.events).filter(([place]) => {
      const [channel = 0, offset = 0] = place.split('/').map(Number)
      return offset >= (this.first.get(channel) ?? 0)
    })
    return same(wanted.events, Object.fromEntries(events)) && same(wanted.records, found.records)
  }

  /** The difference as text for a person. */
  differenceTo(found: Content): string {
    const wanted = this.content()
    const missing = Object.keys(wanted.events).filter((place) => found.events[place] !== wanted.events[place])
    const more = Object.keys(found.events).filter((place) => wanted.events[place] === undefined)
    const keys = [...new Set([...Object.keys(wanted.records), ...Object.keys(found.records)])].filter(
      (key) => wanted.records[key] !== found.records[key],
    )
    return `events missing or other: ${missing.join(' ')}; more: ${more.join(' ')}; records: ${keys.join(' ')}`
  }

  apply(frame: Frame): void {
    for (const block of frame.blocks) {
      this.#events.set(`${block.channelId}/${block.firstOffset}`, Buffer.from(block.bytes).toString('base64'))
      this.next.set(block.channelId, block.firstOffset + block.count)
    }
    for (const [key, value] of frame.records) {
      if (value === null) this.#records.delete(key)
      else this.#records.set(key, Buffer.from(value).toString('base64'))
    }
    for (const { channelId, beforeOffset } of frame.trims)
      this.first.set(channelId, Math.max(this.first.get(channelId) ?? 0, beforeOffset))
  }

  /** What must be there; trimmed events may be there too. */
  content(): Content {
    const kept = [...this.#events].filter(([place]) => {
      const [channel = 0, offset = 0] = place.split('/').map(Number)
      return offset >= (this.first.get(channel) ?? 0)
    })
    return {
      events: Object.fromEntries(kept),
      records: Object.fromEntries([...this.#records].sort(([a], [b]) => (a < b ? -1 : 1))),
    }
  }
}

function same(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key])
}

export function randomFrame(random: () => number, model: Model, trims = true): Frame {
  const blocks: StoredBlock[] = []
  for (const channelId of CHANNELS) {
    if (random() < 0.4) continue
    const events = Array.from({ length: 1 + Math.floor(random() * 4) }, () => {
      const id = Math.floor(random() * 1e12).toString(36)
      return {
        id,
        type: 'a.b',
        key: random() < 0.5 ? null : `k${Math.floor(random() * 5)}`,
        text: JSON.stringify({ id, data: 'x'.repeat(Math.floor(random() * 900)) }),
      }
    })
    blocks.push(encodeBlock(channelId, model.next.get(channelId) ?? 0, 1000, events))
  }
  const records = Array.from(
    { length: Math.floor(random() * 4) },
    () =>
      [
        `r/${Math.floor(random() * 30)}`,
        random() < 0.25 ? null : Buffer.from(`v${Math.floor(random() * 1e9)}`),
      ] as const,
  )
  const channelId = CHANNELS[Math.floor(random() * CHANNELS.length)] as number
  const trimmed =
    trims && random() < 0.1
      ? [{ channelId, beforeOffset: Math.floor((model.next.get(channelId) ?? 0) * random()) }]
      : []
  return { blocks, records, trims: trimmed }
}

export function committed(store: Pick<Store, 'commit'>, frame: Frame): Promise<void> {
  return new Promise((resolve, reject) => store.commit(frame, (error) => (error === null ? resolve() : reject(error))))
}

/** Everything that a store contains, from a first offset of each channel on. */
export async function contentOf(store: Store | DiskStore, first: ReadonlyMap<number, number>): Promise<Content> {
  const events: Record<string, string> = {}
  for (const channelId of CHANNELS) {
    const { next } = store.bounds(channelId)
    let offset = first.get(channelId) ?? 0
    while (offset < next) {
      const blocks = await store.read(channelId, offset, 64 * 1024)
      if (blocks.length === 0) break
      for (const block of blocks) {
        if (block.firstOffset >= (first.get(channelId) ?? 0))
          events[`${channelId}/${block.firstOffset}`] = Buffer.from(block.bytes).toString('base64')
        offset = block.firstOffset + block.count
      }
    }
  }
  const records = Object.fromEntries(
    store.range('r/', 'r0').map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
  )
  return { events, records }
}
