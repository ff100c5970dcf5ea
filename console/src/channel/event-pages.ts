/**
 * Events of a channel by offset, loaded in pages of 100 when one of their rows becomes visible. A few pages are kept.
 */
import { useEffect, useMemo, useReducer } from 'react'
import { api } from '../api/client.ts'
import type { CloudEvent, Page } from '../api/types.ts'

const PAGE = 100
const PAGES_KEPT = 60

/** `undefined`: not loaded yet. `null`: no longer stored. */
export type EventAt = CloudEvent | null | undefined

interface Loaded {
  readonly events: ReadonlyMap<number, CloudEvent>
  /** The offset up to which the page is loaded. */
  readonly upTo: number
}

export class EventPages {
  readonly #channel: string
  readonly #changed: () => void
  readonly #pages = new Map<number, Loaded>()
  readonly #asking = new Set<number>()
  readonly #closing = new AbortController()
  problem: Error | null = null

  constructor(channel: string, changed: () => void) {
    this.#channel = channel
    this.#changed = changed
  }

  at(offset: number): EventAt {
    const page = this.#pages.get(Math.floor(offset / PAGE))
    if (page === undefined || offset >= page.upTo) return undefined
    return page.events.get(offset) ?? null
  }

  /** Load the events between two offsets. `next` is the end of the channel. */
  want(from: number, to: number, next: number): void {
    for (let page = Math.floor(from / PAGE); page * PAGE < to; page++) {
      const end = Math.min(next, (page + 1) * PAGE)
      if (this.#asking.has(page) || (this.#pages.get(page)?.upTo ?? 0) >= end) continue
      this.#asking.add(page)
      void this.#load(page, end).finally(() => {
        this.#asking.delete(page)
        if (!this.#closing.signal.aborted) this.#changed()
      })
    }
  }

  close(): void {
    this.#closing.abort()
  }

  async #load(page: number, end: number): Promise<void> {
    const known = this.#pages.get(page)
    const events = new Map(known?.events)
    let from: number | null = Math.max(page * PAGE, known?.upTo ?? 0)
    try {
      while (from !== null) {
        const path = `channels/${encodeURIComponent(this.#channel)}/events`
        const answer: Page = await api<Page>({ path, query: { from, to: end, limit: PAGE } }, this.#closing.signal)
        for (const { offset, event } of answer.events) events.set(offset, event)
        from = answer.next !== null && answer.next < end ? answer.next : null
      }
      this.problem = null
      this.#pages.delete(page)
      this.#pages.set(page, { events, upTo: end })
      const [oldest] = this.#pages.keys()
      if (this.#pages.size > PAGES_KEPT && oldest !== undefined) this.#pages.delete(oldest)
    } catch (error) {
      if (!this.#closing.signal.aborted) this.problem = error as Error
    }
  }
}

export function useEventPages(channel: string): EventPages {
  const [, changed] = useReducer((turn: number) => turn + 1, 0)
  const pages = useMemo(() => new EventPages(channel, changed), [channel])
  useEffect(() => () => pages.close(), [pages])
  return pages
}
