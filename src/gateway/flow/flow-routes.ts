/**
 * The flow over HTTP: its current state, and its changes. A caller sees the parts whose channels it has a permission
 * for.
 */

import { ACTIONS } from '../access/permissions.ts'
import type { Principal } from '../access/principal.ts'
import type { GatewayHost } from '../gateway-host.ts'
import type { GatewayPart, GatewayRequest, JsonSchema, Route } from '../route.ts'
import { json } from '../schemas.ts'
import { type SseMessage, sseAnswer } from '../sse-answer.ts'
import type { FlowNumbers } from './flow-graph.ts'
import { type FlowState, FlowWatch } from './flow-watch.ts'

const HEARTBEAT_MS = 10_000
const FLOW: JsonSchema = {
  type: 'object',
  required: ['engine', 'parts', 'lines', 'numbers', 'alarms'],
  properties: {
    engine: { type: 'string' },
    parts: { type: 'array', items: { type: 'object', required: ['id', 'kind', 'name'] } },
    lines: { type: 'array', items: { type: 'object', required: ['id', 'from', 'to', 'certain'] } },
    numbers: {
      type: 'object',
      description: 'parts: the numbers of each part by its id; lines: events a second by the id of the line.',
    },
    alarms: { type: 'array', items: { type: 'object' } },
  },
}

/** The parts of the flow that a caller may see. */
interface Seen {
  readonly engine: string
  readonly parts: FlowState['parts']
  readonly lines: FlowState['lines']
  readonly numbers: FlowState['numbers']
  readonly alarms: FlowState['alarms']
}

export class FlowPartOfGateway implements GatewayPart {
  readonly routes: readonly Route[]
  readonly #host: GatewayHost
  readonly #watch: FlowWatch

  constructor(host: GatewayHost) {
    this.#host = host
    this.#watch = new FlowWatch(host)
    this.routes = [
      {
        method: 'GET',
        path: '/api/flow',
        name: 'showFlow',
        summary: 'Show what flows where: sources, channels, consumers and rules, with rates, lag and failures.',
        tag: 'operation',
        access: 'known',
        answers: { 200: { description: 'The flow as it is now.', content: json(FLOW) } },
        refuses: ['CLOSED'],
        handle: async ({ principal }) => Response.json(seenBy(await this.#watch.look(), principal)),
      },
      {
        method: 'GET',
        path: '/api/flow/stream',
        name: 'followFlow',
        summary:
          'Follow the flow by Server-Sent Events, at most four times a second: flow (everything) when parts come or go, numbers (what has changed) otherwise.',
        tag: 'operation',
        access: 'known',
        noHead: true,
        answers: {
          200: { description: 'Each message is JSON.', content: { 'text/event-stream': { type: 'string' } } },
        },
        handle: (request) => this.#follow(request),
      },
    ]
  }

  start(): Promise<void> {
    this.#watch.start()
    return Promise.resolve()
  }

  async close(): Promise<void> {
    await this.#watch.close()
  }

  #follow(request: GatewayRequest): Response {
    return sseAnswer(request, this.#host, (signal) => this.#messages(request.principal, signal))
  }

  async *#messages(principal: Principal, signal: AbortSignal): AsyncGenerator<SseMessage | null> {
    let latest: FlowState | Error | null = null
    let wake = (): void => undefined
    const unwatch = this.#watch.watch((state) => {
      latest = state
      wake()
    })
    signal.addEventListener('abort', () => wake())
    try {
      const changes = new Changes()
      while (!signal.aborted) {
        const state = latest as FlowState | Error | null
        latest = null
        if (state instanceof Error) throw state
        const change = state === null ? undefined : changes.since(seenBy(state, principal))
        if (change !== undefined) yield change
        else if (!(await waited((resolve) => (wake = resolve)))) yield null
      }
    } finally {
      unwatch()
    }
  }
}

/** True if it was woken; false after the time of a heartbeat. */
function waited(arm: (resolve: () => void) => void): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), HEARTBEAT_MS).unref()
    arm(() => {
      clearTimeout(timer)
      resolve(true)
    })
  })
}

function seenBy(state: FlowState, { permits }: Principal): Seen {
  const { engine, channelsOf, numbers } = state
  const maySee = (channel: string): boolean => ACTIONS.some((action) => permits(action, channel))
  if (maySee('>')) return { engine, parts: state.parts, lines: state.lines, numbers, alarms: state.alarms }
  const parts = state.parts.filter(({ id }) => channelsOf.get(id)?.some(maySee) === true)
  const there = new Set(parts.map(({ id }) => id))
  const hidden = new Set(
    parts.flatMap(({ id, kind }) => (kind === 'rule' && channelsOf.get(id)?.every(maySee) !== true ? id : [])),
  )
  const lines = state.lines.filter(({ from, to }) => there.has(from) && there.has(to))
  const only = <T>(all: Readonly<Record<string, T>>, ids: readonly { readonly id: string }[]): Record<string, T> =>
    Object.fromEntries(ids.flatMap(({ id }) => (all[id] === undefined ? [] : [[id, all[id]]])))
  return {
    engine,
    parts,
    lines,
    numbers: { parts: withoutSums(only(numbers.parts, parts), hidden), lines: only(numbers.lines, lines) },
    alarms: [],
  }
}

/** Numbers of a rule are sums over all of its channels: a caller who may not see all of them gets none. */
function withoutSums(
  all: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  hidden: ReadonlySet<string>,
): FlowNumbers['parts'] {
  return Object.fromEntries(
    Object.entries(all).map(([id, numbers]) => {
      if (!hidden.has(id)) return [id, numbers]
      const { enabled, goneMs } = numbers
      return [id, { ...(enabled !== undefined && { enabled }), ...(goneMs !== undefined && { goneMs }) }]
    }),
  )
}

/** What one client has received, so that only changes are sent. */
class Changes {
  #structure = ''
  readonly #sent = new Map<string, string>()

  since(seen: Seen): SseMessage | undefined {
    const structure = JSON.stringify([seen.parts, seen.lines, seen.alarms])
    const parts = this.#changed('p', seen.numbers.parts)
    const lines = this.#changed('l', seen.numbers.lines)
    if (structure !== this.#structure) {
      this.#structure = structure
      return { event: 'flow', data: JSON.stringify(seen) }
    }
    if (Object.keys(parts).length + Object.keys(lines).length === 0) return undefined
    return { event: 'numbers', data: JSON.stringify({ parts, lines }) }
  }

  #changed<T>(prefix: string, numbers: Readonly<Record<string, T>>): Record<string, T> {
    const changed: Record<string, T> = {}
    for (const [id, value] of Object.entries(numbers)) {
      const text = JSON.stringify(value)
      if (this.#sent.get(prefix + id) === text) continue
      this.#sent.set(prefix + id, text)
      changed[id] = value
    }
    return changed
  }
}
