/**
 * What was seen of the flow, saved as an event of `$flow`, so that the next process knows it: where the events of each
 * channel came from, which parts there were, and which are gone.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { namedMessageOf } from '../../base/thrown.ts'
import type { BrokerCore } from '../../broker/engine-of.ts'
import { stream } from '../../channel/channel.ts'
import type { FlowLine, FlowPart } from './flow-graph.ts'
import type { SavedOrigin } from './origins.ts'

/** A part that was there, with its lines and the channels that it belongs to. */
export interface SavedPart {
  readonly part: FlowPart
  readonly lines: readonly FlowLine[]
  readonly channels: readonly string[]
  /** Since when it is gone; null if it was there when this was saved. */
  readonly goneMs: number | null
}

export interface FlowSeen {
  readonly origins: readonly SavedOrigin[]
  readonly parts: readonly SavedPart[]
}

const channel = stream('$flow', { retain: { age: '30d', count: 20 }, dedupe: false })

export class SavedFlow {
  readonly #core: BrokerCore
  #failing = false

  constructor(core: BrokerCore) {
    this.#core = core
  }

  /** What was saved last; null if nothing was, or if it cannot be read. */
  async read(): Promise<FlowSeen | null> {
    const { engine } = this.#core
    const reading = new AbortController()
    try {
      const { first, next } = await engine.bounds(channel.name)
      const from = { offset: Math.max(first, next - 10) }
      let last: string | null = null
      for await (const batch of engine.read(channel.name, { from, to: null, follow: false, signal: reading.signal }))
        last = batch.at(-1)?.text ?? last
      return last === null ? null : seenIn(last)
    } catch (error) {
      if (isMillraceError(error)) return null
      throw error
    } finally {
      reading.abort()
    }
  }

  /** The gateway works on without it: a failure is logged once. */
  async save(seen: FlowSeen): Promise<void> {
    const { engine, encoder, log } = this.#core
    try {
      await encoder.prepare(channel)
      const data = { seen: deflateRawSync(bounded(seen)).toString('base64') }
      const event = await encoder.encode(channel.name, { type: 'millrace.flow', source: '/millrace/gateway', data })
      await engine.publish(channel.name, event, null)
      this.#failing = false
    } catch (error) {
      if (!this.#failing && !isMillraceError(error, 'CLOSED') && !isMillraceError(error, 'FORBIDDEN'))
        log.write('warn', 'what was seen of the flow cannot be saved', { error: namedMessageOf(error) })
      this.#failing = true
    }
  }
}

/** As text: of the origins, those that were seen last; of the parts, the first. Each list has a limited length. */
function bounded({ origins, parts }: FlowSeen): string {
  const most = LIMITS.flowSavedChars
  const newest = [...origins].sort((a, b) => b.lastMs - a.lastMs)
  return JSON.stringify({ origins: fitting(newest, most), parts: fitting(parts, most) } satisfies FlowSeen)
}

function fitting<Item>(items: readonly Item[], most: number): Item[] {
  const kept: Item[] = []
  let chars = 0
  for (const item of items) {
    chars += JSON.stringify(item).length + 1
    if (chars > most) break
    kept.push(item)
  }
  return kept
}

function seenIn(text: string): FlowSeen | null {
  try {
    const { data } = JSON.parse(text) as { readonly data: { readonly seen: string } }
    const inflated = inflateRawSync(Buffer.from(data.seen, 'base64'), { maxOutputLength: 4 * LIMITS.flowSavedChars })
    const { origins, parts } = JSON.parse(inflated.toString()) as FlowSeen
    if (!origins.every(isOrigin) || !parts.every(isPart)) return null
    return { origins, parts }
  } catch {
    // Another version wrote it.
    return null
  }
}

function isOrigin({ channel: name, kind, name: of, weight, lastMs, certain }: SavedOrigin): boolean {
  const texts = [name, of].every((each) => typeof each === 'string')
  return (
    texts &&
    ['source', 'consumer', 'rule'].includes(kind) &&
    [weight, lastMs].every((each) => Number.isFinite(each) && each >= 0) &&
    typeof certain === 'boolean'
  )
}

function isPart({ part, lines, channels, goneMs }: SavedPart): boolean {
  return (
    [part.id, part.kind, part.name, ...channels].every((each) => typeof each === 'string') &&
    lines.every(({ id, from, to }) => [id, from, to].every((each) => typeof each === 'string')) &&
    (goneMs === null || Number.isFinite(goneMs))
  )
}
