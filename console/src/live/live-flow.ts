/**
 * The flow as the server sends it, kept outside React: one stream for the page, and a subscription for each part and
 * line that is shown. A changed number renders only the component that shows it.
 */
import { useSyncExternalStore } from 'react'
import { ApiProblem, access, messages } from '../api/client.ts'
import type { Alarm, FlowLine, FlowMessage, FlowPart, PartNumbers } from '../api/types.ts'

export interface Structure {
  readonly engine: string
  readonly parts: readonly FlowPart[]
  readonly lines: readonly FlowLine[]
  readonly alarms: readonly Alarm[]
}

export type Status = 'connecting' | 'live' | 'lost'

const NONE: PartNumbers = {}

class LiveFlow {
  structure: Structure | null = null
  status: Status = 'connecting'
  problem: string | null = null
  readonly #numbers = new Map<string, PartNumbers>()
  readonly #rates = new Map<string, number>()
  readonly #byId = new Map<string, Set<() => void>>()
  readonly #structural = new Set<() => void>()
  #running = false

  start(): void {
    if (this.#running) return
    this.#running = true
    void this.#follow()
  }

  numbers(id: string): PartNumbers {
    return this.#numbers.get(id) ?? NONE
  }

  rate(line: string): number {
    return this.#rates.get(line) ?? 0
  }

  onStructure = (listener: () => void): (() => void) => {
    this.#structural.add(listener)
    return () => this.#structural.delete(listener)
  }

  on(id: string, listener: () => void): () => void {
    const its = this.#byId.get(id) ?? new Set()
    this.#byId.set(id, its)
    its.add(listener)
    return () => {
      its.delete(listener)
      if (its.size === 0) this.#byId.delete(id)
    }
  }

  async #follow(): Promise<void> {
    let waitMs = 500
    for (;;) {
      try {
        for await (const { event, data } of messages({ path: 'api/flow/stream' }, new AbortController().signal)) {
          waitMs = 500
          this.#take(event, data)
        }
      } catch (error) {
        this.problem = error instanceof Error ? error.message : String(error)
        if (error instanceof ApiProblem && error.status === 401) await tokenGiven()
      }
      this.#say(this.structure === null ? 'connecting' : 'lost')
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      waitMs = Math.min(5000, waitMs * 1.6)
    }
  }

  #take(event: string, data: unknown): void {
    if (event === 'flow') {
      const { engine, parts, lines, alarms, numbers } = data as FlowMessage
      this.structure = { engine, parts, lines, alarms }
      this.#numbers.clear()
      this.#rates.clear()
      this.#put(numbers)
      for (const listener of this.#structural) listener()
    } else if (event === 'numbers') this.#put(data as FlowMessage['numbers'])
    this.problem = null
    this.#say('live')
  }

  #put({ parts, lines }: FlowMessage['numbers']): void {
    for (const [id, numbers] of Object.entries(parts)) this.#numbers.set(id, numbers)
    for (const [id, rate] of Object.entries(lines)) this.#rates.set(id, rate)
    for (const id of [...Object.keys(parts), ...Object.keys(lines)])
      for (const listener of this.#byId.get(id) ?? []) listener()
    for (const listener of this.#byId.get('*') ?? []) listener()
  }

  #say(status: Status): void {
    if (this.status === status) return
    this.status = status
    for (const listener of this.#structural) listener()
  }
}

/** Resolves when a token is given. */
function tokenGiven(): Promise<void> {
  return new Promise((resolve) => {
    const leave = access.subscribe(() => {
      leave()
      resolve()
    })
  })
}

export const live: LiveFlow = new LiveFlow()

export function useStructure(): Structure | null {
  return useSyncExternalStore(live.onStructure, () => live.structure)
}

export function useStatus(): Status {
  return useSyncExternalStore(live.onStructure, () => live.status)
}

export function useNumbers(id: string): PartNumbers {
  return useSyncExternalStore(
    (listener) => live.on(id, listener),
    () => live.numbers(id),
  )
}

export function useLineRate(line: string): number {
  return useSyncExternalStore(
    (listener) => live.on(line, listener),
    () => live.rate(line),
  )
}

/** Subscribes to a text made from many numbers, such as a sum. The component renders when the text changes. */
export function useOf<T extends string | number | boolean>(make: () => T): T {
  return useSyncExternalStore((listener) => {
    const [one, other] = [live.on('*', listener), live.onStructure(listener)]
    return () => {
      one()
      other()
    }
  }, make)
}

/** The worst problem of a part that needs a person; null if there is none. */
export function troubleOf(numbers: PartNumbers): { readonly level: 'bad' | 'warn'; readonly text: string } | null {
  if (numbers.goneMs !== undefined) return null
  if (numbers.problem != null) return { level: 'bad', text: 'cannot act' }
  if (numbers.stalled != null) return { level: 'bad', text: 'stalled' }
  if ((numbers.deadLetters ?? 0) > 0) return { level: 'bad', text: `${numbers.deadLetters} dead` }
  if (numbers.paused === true) return { level: 'warn', text: 'paused' }
  if (numbers.instances === 0 && (numbers.lag ?? 0) > 0) return { level: 'bad', text: 'not running' }
  if ((numbers.retrying ?? 0) > 0) return { level: 'warn', text: `${numbers.retrying} retrying` }
  if ((numbers.lagMs ?? 0) > 30_000) return { level: 'warn', text: 'late' }
  return null
}
