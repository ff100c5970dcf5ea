/**
 * The flow as a graph: sources → channels → consumers, and rules → channels. It is made from the broker's description,
 * the rules, and what was seen in sampled events. Pure: the same facts give the same graph.
 */
import { isOwnChannel, ownerOf } from '../../base/names.ts'
import type { BrokerDescription, ChannelDescription, ConsumerDescription } from '../../broker/description.ts'
import { channelTest } from '../../catalogue/rule-facts.ts'
import type { Origins } from './origins.ts'

/** `source`: a CloudEvents source that publishes. `target`: a server that a rule calls. */
export type FlowKind = 'source' | 'channel' | 'consumer' | 'rule' | 'target'

export interface FlowPart {
  readonly id: string
  readonly kind: FlowKind
  readonly name: string
  /** Of a channel: `stream` or `queue`. */
  readonly detail?: string
}

export interface FlowLine {
  readonly id: string
  readonly from: string
  readonly to: string
  /**
   * False: the line is likely. What a consumer emits is recognised by `causationid`, which is not certain if several
   * consumers read the cause.
   */
  readonly certain: boolean
}

/** The numbers, which change all the time, apart from the parts. */
export interface FlowNumbers {
  readonly parts: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Events a second by line. */
  readonly lines: Readonly<Record<string, number>>
}

export interface FlowGraph {
  readonly parts: readonly FlowPart[]
  readonly lines: readonly FlowLine[]
  readonly numbers: FlowNumbers
}

/** What the graph needs to know of a rule. */
export interface FlowRule {
  readonly name: string
  readonly enabled: boolean
  readonly problem: string | null
  readonly on: readonly string[]
  /** The channels that the rule emits or forwards to. */
  readonly writes: readonly string[]
  /** The servers that the rule calls. */
  readonly calls: readonly string[]
}

export const idOf = (kind: FlowKind, name: string): string => `${kind}:${name}`

/** Whether the flow leaves a consumer out: it runs rules, which are parts themselves, or redrives. */
function isLeftOut(consumer: string): boolean {
  const owner = ownerOf(consumer)
  return owner === '$rules' || owner === '$redrives'
}

export function flowGraph(
  description: Pick<BrokerDescription, 'channels' | 'consumers'>,
  rules: readonly FlowRule[],
  origins: Origins,
): FlowGraph {
  const draft = new Draft()
  const channels = description.channels.filter(({ name }) => !isOwnChannel(name))
  for (const channel of channels) draft.part('channel', channel.name, channelNumbers(channel), channel.kind)
  for (const consumer of description.consumers) if (!isLeftOut(consumer.name)) drawConsumer(draft, consumer, channels)
  for (const rule of rules) drawRule(draft, rule, channels, description.consumers)
  for (const channel of channels) drawOrigins(draft, channel, origins)
  return draft.graph()
}

class Draft {
  readonly #parts = new Map<string, FlowPart>()
  readonly #lines = new Map<string, FlowLine>()
  readonly #partNumbers: Record<string, Record<string, unknown>> = {}
  readonly #rates: Record<string, number> = {}

  part(kind: FlowKind, name: string, numbers: Record<string, unknown>, detail?: string): void {
    const id = idOf(kind, name)
    this.#parts.set(id, { id, kind, name, ...(detail !== undefined && { detail }) })
    this.#partNumbers[id] = { ...this.#partNumbers[id], ...numbers }
  }

  has(id: string): boolean {
    return this.#parts.has(id)
  }

  line(from: string, to: string, rate: number, certain = true): void {
    const id = `${from}>${to}`
    const known = this.#lines.get(id)
    this.#lines.set(id, { id, from, to, certain: certain || known?.certain === true })
    this.#rates[id] = rounded((this.#rates[id] ?? 0) + rate)
  }

  /** Add to the rate of a source, which is the sum of its lines. */
  add(id: string, rate: number): void {
    const numbers = this.#partNumbers[id]
    if (numbers !== undefined) numbers['rate'] = rounded(Number(numbers['rate'] ?? 0) + rate)
  }

  graph(): FlowGraph {
    return {
      parts: [...this.#parts.values()],
      lines: [...this.#lines.values()].filter(({ from, to }) => this.#parts.has(from) && this.#parts.has(to)),
      numbers: { parts: this.#partNumbers, lines: this.#rates },
    }
  }
}

/** A rate with two digits after the point: more would change all the time. */
function rounded(rate: number): number {
  return Math.round(rate * 100) / 100
}

function channelNumbers({ rate, first, next, bytes, scheduled }: ChannelDescription): Record<string, unknown> {
  return { rate: rounded(rate), first, next, bytes, scheduled }
}

function drawConsumer(draft: Draft, consumer: ConsumerDescription, channels: readonly ChannelDescription[]): void {
  const { name, rate, inFlight, retrying, deadLetters, parked, instances, paused, pause, stalled } = consumer
  const lag = consumer.channels.reduce((sum, position) => sum + position.lag, 0)
  const lagMs = Math.max(0, ...consumer.channels.map((position) => position.lagMs))
  draft.part('consumer', name, {
    rate: rounded(rate),
    lag,
    lagMs: Math.round(lagMs / 100) * 100,
    inFlight,
    retrying,
    deadLetters,
    parked,
    instances,
    paused,
    pause: pause?.reason ?? null,
    stalled: stalled?.reason ?? null,
  })
  const rates = new Map(channels.map((channel) => [channel.name, channel.rate]))
  const taken = consumer.channels.filter(({ channel }) => rates.has(channel))
  const total = taken.reduce((sum, { channel }) => sum + (rates.get(channel) ?? 0), 0)
  for (const { channel } of taken) {
    const share = total > 0 ? (rates.get(channel) ?? 0) / total : 1 / taken.length
    draft.line(idOf('channel', channel), idOf('consumer', name), rate * share)
  }
}

function drawRule(
  draft: Draft,
  { name, enabled, problem, on, writes, calls }: FlowRule,
  channels: readonly ChannelDescription[],
  consumers: readonly ConsumerDescription[],
): void {
  const workers = consumers.filter((consumer) => consumer.name.startsWith(`rule.${name}.`))
  const sum = (of: (consumer: ConsumerDescription) => number): number =>
    workers.reduce((all, worker) => all + of(worker), 0)
  const numbers = {
    enabled,
    problem,
    lag: sum((worker) => worker.channels.reduce((all, position) => all + position.lag, 0)),
    retrying: sum(({ retrying }) => retrying),
    deadLetters: sum(({ deadLetters }) => deadLetters),
    workers: workers.map((worker) => worker.name),
  }
  draft.part('rule', name, numbers)
  const id = idOf('rule', name)
  const takes = channelTest(on)
  for (const channel of channels) if (takes(channel.name)) draft.line(idOf('channel', channel.name), id, 0)
  for (const channel of writes) draft.line(id, idOf('channel', channel), 0)
  for (const server of calls) {
    draft.part('target', server, {})
    draft.line(id, idOf('target', server), 0)
  }
}

/** Draw where the recent events of a channel came from. Each origin gets its share of the channel's rate. */
function drawOrigins(draft: Draft, channel: ChannelDescription, origins: Origins): void {
  const to = idOf('channel', channel.name)
  for (const { kind, name, share, lastMs, certain } of origins.of(channel.name)) {
    const id = idOf(kind, name)
    if (kind === 'source' && !draft.has(id)) draft.part('source', name, { rate: 0 })
    if (!draft.has(id)) continue
    if (kind === 'source') draft.part('source', name, { lastMs })
    draft.line(id, to, channel.rate * share, certain)
    if (kind !== 'consumer') draft.add(id, channel.rate * share)
  }
}
