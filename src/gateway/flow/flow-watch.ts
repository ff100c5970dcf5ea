/**
 * Describes the flow: up to four times a second while clients watch it, with one look for all of them, and once a
 * minute while none does. A broker in memory is not looked at without a client.
 *
 * A look describes the broker, and samples new events of some channels. It takes no part in publishing or delivering.
 */
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { isOwnChannel, isWildcard } from '../../base/names.ts'
import type { BrokerHost } from '../../broker/broker.ts'
import type { Alarm, BrokerDescription, ChannelDescription } from '../../broker/description.ts'
import type { EventFacts, Readers } from '../../catalogue/makers.ts'
import { readersOf } from '../../catalogue/readers.ts'
import { channelTest } from '../../catalogue/rule-facts.ts'
import { parseRule } from '../../rules/rule.ts'
import { type RuleDescription, type Rules, rulesOf } from '../../rules/rules.ts'
import type { GatewayHost } from '../gateway-host.ts'
import {
  type FlowGraph,
  type FlowLine,
  type FlowNumbers,
  type FlowPart,
  type FlowRule,
  flowGraph,
} from './flow-graph.ts'
import { Origins } from './origins.ts'
import { type FlowSeen, SavedFlow } from './saved-flow.ts'

export interface FlowState extends FlowGraph {
  readonly engine: string
  readonly alarms: readonly Alarm[]
  readonly atMs: number
  /** The channels that a part belongs to. A caller that may see one of them may see the part. */
  readonly channelsOf: ReadonlyMap<string, readonly string[]>
}

type Listener = (state: FlowState | Error) => void

interface Gone {
  readonly part: FlowPart
  readonly lines: readonly FlowLine[]
  readonly channels: readonly string[]
  readonly sinceMs: number
}

const RULES_MS = 2000

export class FlowWatch {
  readonly #host: GatewayHost
  readonly #listeners = new Set<Listener>()
  readonly #origins = new Origins()
  /** By channel: the offset after the last sampled event. */
  readonly #sampled = new Map<string, number>()
  readonly #gone = new Map<string, Gone>()
  /** Null for a broker in memory: what it saves ends with it. */
  readonly #saved: SavedFlow | null
  #restored = false
  #savedMs = 0
  #savedText = ''
  #saving: Promise<void> = Promise.resolve()
  #rules: Rules | null = null
  #known: { readonly rules: readonly FlowRule[]; readonly atMs: number } = { rules: [], atMs: 0 }
  #last: FlowState | null = null
  #timer: NodeJS.Timeout | null = null
  #looking: Promise<FlowState> | null = null
  #turn = 0
  #closed = false

  constructor(host: GatewayHost) {
    this.#host = host
    this.#saved = host.core.engine.name === 'memory' ? null : new SavedFlow(host.core)
  }

  /** Look now and then while no client watches, so that rare sources are known. */
  start(): void {
    if (this.#saved !== null) this.#later(LIMITS.flowIdleMs)
  }

  /** Call the listener with each look. Returns a function that ends this. */
  watch(listener: Listener): () => void {
    this.#listeners.add(listener)
    if (this.#listeners.size === 1) this.#later(0)
    return () => this.#listeners.delete(listener)
  }

  /** The flow at this moment. */
  look(): Promise<FlowState> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null
    })
    return this.#looking
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#listeners.clear()
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#looking?.catch(() => undefined)
    this.#save(0)
    await this.#saving
  }

  #later(waitMs: number): void {
    if (this.#closed) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = null
      void this.#tick()
    }, waitMs).unref()
  }

  async #tick(): Promise<void> {
    const startedMs = performance.now()
    const state = await this.look().catch((error: Error) => error)
    for (const listener of [...this.#listeners]) listener(state)
    // A look takes at most a tenth of the time: if the broker takes long to describe, the next look is later.
    const idle = this.#listeners.size === 0
    if (idle && this.#saved === null) return
    this.#later(Math.max(idle ? LIMITS.flowIdleMs : LIMITS.flowLookMs, 9 * (performance.now() - startedMs)))
  }

  async #look(): Promise<FlowState> {
    const description = await this.#host.broker.describe()
    const nowMs = Date.now()
    if (!this.#restored) await this.#restore(nowMs)
    const rules = await this.#rulesAt(nowMs)
    const consumers = description.consumers.map(({ name, channels }) => ({
      name,
      channels: channels.map(({ channel }) => channel),
    }))
    const readers = readersOf(consumers, rules)
    await this.#sample(description.channels, readers)
    this.#origins.forget(new Set(description.channels.map(({ name }) => name)), nowMs - LIMITS.flowFadeMs)
    const graph = flowGraph(description, rules, this.#origins)
    const channelsOf = channelsOfParts(graph, description, rules)
    const state = {
      ...this.#withGone(graph, channelsOf, nowMs),
      engine: description.engine,
      alarms: description.alarms,
    }
    this.#last = { ...state, atMs: nowMs }
    this.#save(LIMITS.flowSaveMs)
    return this.#last
  }

  /** What an earlier process has seen. Parts that are not there now are gone since then. */
  async #restore(nowMs: number): Promise<void> {
    const seen = (await this.#saved?.read()) ?? null
    this.#restored = true
    if (seen === null) return
    this.#origins.restore(seen.origins, nowMs)
    for (const { part, lines, channels, goneMs } of seen.parts)
      this.#gone.set(part.id, { part, lines, channels, sinceMs: Math.min(goneMs ?? nowMs, nowMs) })
  }

  /** Save what was seen, if it has changed and was not saved for this time. */
  #save(afterMs: number): void {
    const last = this.#last
    if (this.#saved === null || last === null || performance.now() - this.#savedMs < afterMs) return
    const seen = this.#seen(last)
    const text = JSON.stringify([seen.parts, seen.origins.map(({ channel, kind, name }) => [channel, kind, name])])
    if (text === this.#savedText) return
    this.#savedMs = performance.now()
    this.#savedText = text
    this.#saving = this.#saved.save(seen)
  }

  #seen({ parts, lines, channelsOf }: FlowState): FlowSeen {
    const linesOf = new Map<string, FlowLine[]>()
    for (const line of lines)
      for (const id of new Set([line.from, line.to])) linesOf.set(id, [...(linesOf.get(id) ?? []), line])
    return {
      origins: this.#origins.saved,
      parts: parts.map((part) => ({
        part,
        lines: linesOf.get(part.id) ?? [],
        channels: channelsOf.get(part.id) ?? [],
        goneMs: this.#gone.get(part.id)?.sinceMs ?? null,
      })),
    }
  }

  async #rulesAt(nowMs: number): Promise<readonly FlowRule[]> {
    if (nowMs - this.#known.atMs < RULES_MS) return this.#known.rules
    this.#rules ??= rulesOf(this.#host.broker)
    const rules = (await this.#rules.list()).map(flowRule)
    this.#known = { rules, atMs: nowMs }
    return rules
  }

  /**
   * Sample new events, a number of channels in each look. First all ids are learnt, then the origins, so the order of
   * channels does not matter.
   */
  async #sample(channels: readonly ChannelDescription[], readers: Readers): Promise<void> {
    const busy = channels.filter(
      ({ name, next, first }) => !isOwnChannel(name) && next > Math.max(first, this.#sampled.get(name) ?? 0),
    )
    if (busy.length === 0) return
    const host = this.#host.core
    const start = this.#turn % busy.length
    const turn = [...busy.slice(start), ...busy.slice(0, start)].slice(0, LIMITS.flowChannelsMax)
    this.#turn += turn.length
    const facts: EventFacts[] = []
    for (const { name, first, next } of turn) {
      const from = Math.max(first, this.#sampled.get(name) ?? 0, next - LIMITS.flowSampleMax)
      this.#sampled.set(name, next)
      facts.push(...(await sampleOf(host, name, from, next)))
    }
    this.#origins.learn(facts, readers)
  }

  /** Add the parts that were there a while ago and are not there now. */
  #withGone(
    graph: FlowGraph,
    channelsOf: Map<string, readonly string[]>,
    nowMs: number,
  ): FlowGraph & { readonly atMs: number; readonly channelsOf: ReadonlyMap<string, readonly string[]> } {
    const there = new Set(graph.parts.map(({ id }) => id))
    for (const part of this.#last?.parts ?? []) {
      if (there.has(part.id) || this.#gone.has(part.id)) continue
      const lines = this.#last?.lines.filter(({ from, to }) => from === part.id || to === part.id) ?? []
      this.#gone.set(part.id, { part, lines, channels: this.#last?.channelsOf.get(part.id) ?? [], sinceMs: nowMs })
    }
    for (const [id, { sinceMs }] of this.#gone)
      if (there.has(id) || nowMs - sinceMs > LIMITS.flowFadeMs) this.#gone.delete(id)
    const gone = [...this.#gone.values()]
    for (const { part, channels } of gone) channelsOf.set(part.id, channels)
    const parts = [...graph.parts, ...gone.map(({ part }) => part)]
    const known = new Set(parts.map(({ id }) => id))
    const lines = new Map(gone.flatMap((each) => each.lines).map((line) => [line.id, line]))
    for (const line of graph.lines) lines.set(line.id, line)
    const numbers: FlowNumbers = {
      lines: graph.numbers.lines,
      parts: {
        ...graph.numbers.parts,
        ...Object.fromEntries(gone.map(({ part, sinceMs }) => [part.id, { goneMs: sinceMs }])),
      },
    }
    return {
      parts,
      lines: [...lines.values()].filter(({ from, to }) => known.has(from) && known.has(to)),
      numbers,
      atMs: nowMs,
      channelsOf,
    }
  }
}

function flowRule({ name, enabled, problem, definition }: RuleDescription): FlowRule {
  const on = [definition.on].flat()
  try {
    const { actions } = parseRule(definition)
    return {
      name,
      enabled,
      problem,
      on,
      writes: actions.flatMap((action) =>
        action.kind === 'emit' || action.kind === 'forward' ? [action.channel] : [],
      ),
      calls: serversOf(definition.then),
    }
  } catch (error) {
    // A rule that this version of Millrace cannot read: `problem` says so.
    if (isMillraceError(error)) return { name, enabled, problem, on, writes: [], calls: [] }
    throw error
  }
}

/** The servers that `http` actions call, if a template does not make the host's name. */
function serversOf(then: unknown): string[] {
  const urls = [then].flat().flatMap((action) => {
    const http = typeof action === 'object' && action !== null && 'http' in action ? action.http : undefined
    const url = typeof http === 'object' && http !== null && 'url' in http ? http.url : http
    return typeof url === 'string' ? [url] : []
  })
  return [...new Set(urls.flatMap((url) => (URL.canParse(url) ? [new URL(url).host] : [])))]
}

async function sampleOf(host: BrokerHost, channel: string, from: number, next: number): Promise<EventFacts[]> {
  const facts: EventFacts[] = []
  const reading = new AbortController()
  let bytes = 0
  try {
    const range = { from: { offset: from }, to: { offset: next }, follow: false, signal: reading.signal }
    for await (const batch of host.engine.read(channel, range)) {
      for (const { text, timeMs } of batch) {
        bytes += text.length
        if (text.length <= LIMITS.flowSampleBytes / 4) facts.push(factsOf(channel, text, timeMs))
      }
      if (bytes > LIMITS.flowSampleBytes || facts.length >= LIMITS.flowSampleMax) break
    }
  } catch (error) {
    // The events were removed by retention meanwhile, or the channel was removed: there is nothing to sample.
    if (!isMillraceError(error, 'UNKNOWN_CHANNEL') && !isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
  } finally {
    reading.abort()
  }
  return facts
}

function factsOf(channel: string, text: string, timeMs: number): EventFacts {
  const { id, source, causationid } = JSON.parse(text) as { id: string; source: string; causationid?: unknown }
  return { channel, id, source, causationid: typeof causationid === 'string' ? causationid : null, timeMs }
}

/** The channels of a rule. A wildcard stands for the channels that it matches now. */
function takenBy(on: readonly string[], declared: readonly ChannelDescription[]): string[] {
  const takes = channelTest(on.filter(isWildcard))
  const matched = declared.flatMap(({ name }) => (takes(name) && !isOwnChannel(name) ? name : []))
  return [...on.filter((each) => !isWildcard(each)), ...matched]
}

function channelsOfParts(
  { parts, lines }: FlowGraph,
  { consumers, channels: declared }: BrokerDescription,
  rules: readonly FlowRule[],
): Map<string, readonly string[]> {
  const channels = new Map<string, readonly string[]>()
  for (const { id, kind, name } of parts) {
    if (kind === 'channel') channels.set(id, [name])
    else if (kind === 'consumer')
      channels.set(
        id,
        consumers.find((consumer) => consumer.name === name)?.channels.map(({ channel }) => channel) ?? [],
      )
    else if (kind === 'rule') channels.set(id, takenBy(rules.find((rule) => rule.name === name)?.on ?? [], declared))
    else channels.set(id, [])
  }
  const near = (id: string): readonly string[] => channels.get(id) ?? []
  for (const { from, to } of lines) {
    if (from.startsWith('source:')) channels.set(from, [...near(from), ...near(to)])
    if (to.startsWith('target:')) channels.set(to, [...near(to), ...near(from)])
  }
  return channels
}
