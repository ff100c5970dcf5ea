/**
 * Copies from one broker to another, of any two engines: channels with their events, consumers with what they have
 * settled, dead letters, delayed events and rules.
 *
 * Invariants:
 * - An interrupted copy can be run again: no event is stored twice, and none is missing. The target's content shows how
 *   far it got; `$copies` records what is complete.
 * - A channel is reported as complete only after both sides were compared event by event and the source did not change
 *   meanwhile.
 * - The source is not changed.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { MillraceError } from '../base/errors.ts'
import { boundsIn } from '../broker/bounds.ts'
import type { Broker } from '../broker/broker.ts'
import type { Engine } from '../broker/engine.ts'
import { engineOf } from '../broker/engine-of.ts'
import { containedOffsets, offsetRank } from '../rules/stored-offsets.ts'
import { ChannelCopy, type ChannelCopyHost, type Compared, isEmpty } from './channel-copy.ts'
import { type CopiedChannel, CopyLedger } from './copy-ledger.ts'
import { type CopyPlan, type CopySelection, type PlannedChannel, planCopy } from './copy-plan.ts'
import { OffsetMap } from './offset-map.ts'
import { pair } from './pairing.ts'
import { RuleOffsetMap, targetOffsets } from './rule-offset-map.ts'
import { putScheduled } from './scheduled-copy.ts'
import { eventsOf } from './source-events.ts'

export interface CopyProgress {
  readonly channel: string
  readonly step: 'copy' | 'compare'
  readonly done: number
  readonly total: number
}

export interface CopyOptions extends CopySelection {
  /** The source's name in `$copies`. */
  readonly name: string
  /**
   * Copy new events too, and finish when the source (events, consumers, dead letters) has not changed for this time.
   * @default undefined: a change during the copy is refused with COPY_DIFFERS
   */
  readonly quietMs?: number
  readonly progress?: (progress: CopyProgress) => void
  /** Called once, when the target has everything and only new events are awaited. */
  readonly following?: () => void
  readonly signal?: AbortSignal
}

export interface CopyReport {
  readonly channels: readonly (CopiedChannel & {
    readonly state: 'copied' | 'already'
    readonly bytes: number
    readonly expired: number
    readonly scheduled: number
  })[]
}

const LOOK_MS = 200

/**
 * Copies what the options select from one broker to another. It can be run again after a failure.
 *
 * @throws UNKNOWN_CHANNEL or UNKNOWN_CONSUMER when a given name does not exist · CLAUSE_REFUSED when the target cannot
 * hold something · CHANNEL_CONFLICT when the target has a channel that this copy did not begin · EVENT_TOO_LARGE when
 * an event is too large for the target · COPY_DIFFERS when the source changes, or the target differs from it
 */
export async function copyBroker(from: Broker, to: Broker, options: CopyOptions): Promise<CopyReport> {
  return new Copy(engineOf(from), engineOf(to), options).run()
}

class Copy {
  readonly #source: Engine
  readonly #target: Engine
  readonly #options: CopyOptions
  readonly #offsetMaps = new Map<string, OffsetMap>()
  readonly #totals = new Map<string, number>()
  readonly #rules: RuleOffsetMap
  #eventBytesMax = 0

  constructor(source: Engine, target: Engine, options: CopyOptions) {
    this.#source = source
    this.#target = target
    this.#options = options
    this.#rules = new RuleOffsetMap(source, target)
  }

  async run(): Promise<CopyReport> {
    const ledger = await CopyLedger.open(this.#target, this.#options.name)
    const plan = await this.#plan()
    const already = await this.#already(plan, ledger)
    const fresh = plan.channels.filter(({ spec }) => !already.has(spec.name))
    await this.#mayBegin(fresh, ledger)
    const compared = fresh.length === 0 ? [] : await this.#carry(plan, already)
    await ledger.end(compared.map(({ copied }) => copied))
    for (const { copy } of compared) await this.#target.declare(copy.planned.spec)
    const counts = await this.#schedule(plan, ledger)
    return {
      channels: plan.channels.flatMap(({ spec: { name } }) => {
        const copied = ledger.ended(name)
        if (copied === undefined) return []
        const one = compared.find(({ copy }) => copy.name === name)?.result
        const state = one === undefined ? ('already' as const) : ('copied' as const)
        return [
          { ...copied, state, bytes: one?.bytes ?? 0, expired: one?.expired ?? 0, scheduled: counts.get(name) ?? 0 },
        ]
      }),
    }
  }

  /** @throws CLAUSE_REFUSED when something cannot be copied */
  async #plan(): Promise<CopyPlan> {
    const plan = await planCopy(this.#source, this.#target, this.#options)
    this.#eventBytesMax = plan.eventBytesMax
    for (const { spec, events } of plan.channels) this.#totals.set(spec.name, events)
    const [refusal] = plan.refusals
    if (refusal !== undefined)
      throw new MillraceError('CLAUSE_REFUSED', plan.refusals.join('; '), {
        refusals: plan.refusals,
        engine: this.#target.name,
      })
    return plan
  }

  /** Channels that an earlier copy completed. @throws COPY_DIFFERS when the source has changed since */
  async #already(plan: CopyPlan, ledger: CopyLedger): Promise<Set<string>> {
    const ends = await endsOf(this.#source)
    const already = new Set<string>()
    for (const {
      spec: { name },
    } of plan.channels) {
      const copied = ledger.ended(name)
      if (copied === undefined || (await this.#target.channel(name)) === undefined) continue
      if (ends.get(name) !== copied.through) {
        const message = `channel "${name}" was copied completely before, and the source has changed since (from offset ${copied.through} to ${ends.get(name)}): remove it at the target to copy it again`
        throw new MillraceError('COPY_DIFFERS', message, { channel: name })
      }
      already.add(name)
    }
    return already
  }

  /** Channels that exist at the target must be empty, or come from an interrupted copy. @throws CHANNEL_CONFLICT */
  async #mayBegin(channels: readonly PlannedChannel[], ledger: CopyLedger): Promise<void> {
    const names: string[] = []
    for (const { spec } of channels) {
      const own =
        ledger.began(spec.name) &&
        ledger.ended(spec.name) === undefined &&
        (await this.#target.channel(spec.name)) !== undefined
      if (own) continue
      if (!(await isEmpty(this.#target, spec.name))) {
        const message = `channel "${spec.name}" exists at the target already, and holds events: remove it there, or copy others with --channels`
        throw new MillraceError('CHANNEL_CONFLICT', message, { channel: spec.name })
      }
      names.push(spec.name)
    }
    await ledger.begin(names)
  }

  /**
   * Fill, compare and settle, until the source did not change meanwhile. @throws COPY_DIFFERS when it changes and is
   * not followed
   */
  async #carry(first: CopyPlan, already: ReadonlySet<string>): Promise<Done[]> {
    const { quietMs } = this.#options
    let plan = first
    if (quietMs !== undefined) plan = await this.#follow(plan, already, quietMs)
    for (;;) {
      const done = await this.#pass(plan, already)
      const now = await this.#plan()
      if (stateOf(now) === stateOf(plan)) return done
      if (quietMs === undefined) {
        throw new MillraceError(
          'COPY_DIFFERS',
          `the source changed during the copy: stop everything that publishes and consumes there and run the copy again, or use --follow`,
        )
      }
      plan = await this.#follow(now, already, quietMs)
    }
  }

  /** Copy new events until nothing changes any more. */
  async #follow(first: CopyPlan, already: ReadonlySet<string>, quietMs: number): Promise<CopyPlan> {
    const copies = new Map<string, ChannelCopy>()
    let plan = first
    let sinceMs = performance.now()
    let told = false
    for (;;) {
      for (const planned of plan.channels) {
        const { name } = planned.spec
        if (already.has(name) || offsetRank(name) > 0) continue
        const copy = copies.get(name) ?? new ChannelCopy(planned, this.#host())
        copies.set(name, copy)
        await copy.follow()
      }
      if (!told) this.#options.following?.()
      told = true
      await sleep(LOOK_MS)
      this.#signal.throwIfAborted()
      const now = await this.#plan()
      if (stateOf(now) !== stateOf(plan)) sinceMs = performance.now()
      else if (performance.now() - sinceMs >= quietMs) return now
      plan = now
    }
  }

  async #pass(plan: CopyPlan, already: ReadonlySet<string>): Promise<Done[]> {
    const mentioned = await this.#mentioned(plan)
    const ends = await endsOf(this.#source)
    const done: Done[] = []
    for (const planned of plan.channels) {
      const { name } = planned.spec
      const of = {
        exact: mentioned.exact.get(name) ?? new Set<number>(),
        starts: mentioned.starts.get(name) ?? new Set<number>(),
      }
      if (already.has(name)) {
        this.#offsetMaps.set(name, await this.#offsetMapOf(name, of))
        continue
      }
      const copy = new ChannelCopy(planned, this.#host())
      await copy.fill()
      const result = await copy.compare(of)
      this.#offsetMaps.set(name, result.offsetMap)
      await copy.settle(result)
      const { events, checksum, offsetMap } = result
      done.push({
        copy,
        result,
        copied: { channel: name, events, checksum, through: ends.get(name) ?? 0, end: offsetMap.end },
      })
    }
    return done
  }

  get #signal(): AbortSignal {
    return this.#options.signal ?? NEVER
  }

  #host(): ChannelCopyHost {
    const progress = this.#options.progress
    return {
      ...{
        source: this.#source,
        target: this.#target,
        rules: this.#rules,
        newOffsets: targetOffsets(this.#rules, (channel) => this.#offsetMaps.get(channel)),
        signal: this.#signal,
        eventBytesMax: this.#eventBytesMax,
      },
      progress: (channel, step, done) =>
        progress?.({ channel, step, done, total: Math.max(done, this.#totals.get(channel) ?? 0) }),
    }
  }

  /** The offsets in other channels that the events of rules refer to. */
  async #mentioned({ channels }: CopyPlan): Promise<Record<'exact' | 'starts', Map<string, Set<number>>>> {
    const found = { exact: new Map<string, Set<number>>(), starts: new Map<string, Set<number>>() }
    for (const { spec } of channels) {
      if (offsetRank(spec.name) === 0) continue
      for await (const event of eventsOf(this.#source, spec.name)) {
        for (const { channel, offset, exact } of containedOffsets(spec.name, event)) {
          const of = found[exact ? 'exact' : 'starts']
          of.set(channel, (of.get(channel) ?? new Set()).add(offset))
        }
      }
    }
    return found
  }

  /** The offset mapping of a channel that was copied before, for the events that both sides still have. */
  async #offsetMapOf(
    name: string,
    { exact, starts }: { readonly exact: ReadonlySet<number>; readonly starts: ReadonlySet<number> },
  ): Promise<OffsetMap> {
    const offsetMap = new OffsetMap([], exact, starts)
    if (exact.size + starts.size > 0)
      await pair(eventsOf(this.#source, name), eventsOf(this.#target, name), (source, target) =>
        offsetMap.matched(source, target),
      )
    offsetMap.end = (await boundsIn(this.#target, name))?.next ?? 0
    return offsetMap
  }

  /** Copy the delayed events. */
  async #schedule({ channels }: CopyPlan, ledger: CopyLedger): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    const ended: CopiedChannel[] = []
    for (const {
      spec: { name },
    } of channels) {
      const copied = ledger.ended(name)
      if (copied === undefined || ledger.scheduled(name)) continue
      counts.set(name, await putScheduled(this.#source, this.#target, copied))
      ended.push(copied)
    }
    await ledger.endScheduled(ended)
    return counts
  }
}

const NEVER: AbortSignal = new AbortController().signal

interface Done {
  readonly copy: ChannelCopy
  readonly result: Compared
  readonly copied: CopiedChannel
}

async function endsOf(engine: Engine): Promise<Map<string, number>> {
  const channels = await engine.channels()
  return new Map(
    await Promise.all(channels.map(async ({ name }) => [name, (await boundsIn(engine, name))?.next ?? 0] as const)),
  )
}

/** The part of the plan that changes when somebody publishes or consumes, but not by retention. */
function stateOf({ channels }: CopyPlan): string {
  return JSON.stringify(
    channels.map(({ spec, next, first, scheduled, deadLetters, waiting, consumers }) => {
      const done = consumers.map(({ consumer, floor, settled, retries }) => [
        consumer,
        floor <= first ? null : floor,
        settled,
        retries,
      ])
      return [spec, next, scheduled, deadLetters, waiting, done]
    }),
  )
}
