/**
 * All limits of an engine, by name (clause 21). A limit has the size that the consumer which was started last declares,
 * unless somebody has set another one at run time: that one is stored, and holds until it is reset.
 */
import { MillraceError } from '../../base/errors.ts'
import type { AlarmList } from '../../broker/alarm-list.ts'
import type { ConsumerSpec, FlowLimit } from '../../broker/engine.ts'
import { type LimitSize, type LimitState, type Limits, unknownLimit } from '../../broker/limits.ts'
import { fromJson, toJson } from '../consumer-records.ts'
import { ConcurrencyTable } from './concurrency-table.ts'
import { Flow } from './flow.ts'
import type { LimitTable } from './limit-table.ts'
import { type RateHost, RateTable } from './rate-table.ts'

export interface TablesHost extends RateHost {
  readonly alarms: Pick<AlarmList, 'raise'>
  get(key: string): Uint8Array | undefined
}

interface Named {
  readonly table: LimitTable
  declared: LimitSize
  /** The size that was set at run time. */
  set: LimitSize | null
  /** The consumers that have named it since the engine was opened. */
  readonly consumers: Set<string>
}

/** The size that was set at run time. */
const setSize = (limit: string): string => `L/${limit}`

/** The limits as an engine shows them. `flushed` resolves when a change is durable. */
export function limitsOf(tables: FlowTables, flushed: () => Promise<void>): Limits {
  return {
    list: async () => tables.states,
    set: async (name, size) => {
      const state = tables.set(name, size)
      if (state === null) throw unknownLimit(name)
      await flushed()
      return state
    },
  }
}

export class FlowTables {
  readonly #host: TablesHost
  readonly #byName = new Map<string, Named>()

  constructor(host: TablesHost) {
    this.#host = host
  }

  /**
   * The limits of a consumer; null where it has none.
   * @throws INVALID_OPTION when a limit of that name is of another kind
   */
  of({ name: consumer, limits }: Pick<ConsumerSpec, 'name' | 'limits'>): Flow | null {
    if (limits === undefined || limits.length === 0) return null
    return new Flow(consumer, limits, { alarms: this.#host.alarms, table: (limit) => this.#table(limit, consumer) })
  }

  #table({ name, kind, max, perMs, burst }: FlowLimit, consumer: string): LimitTable {
    const declared = { max, perMs, burst }
    const known = this.#byName.get(name)
    if (known !== undefined && known.table.kind !== kind)
      throw new MillraceError(
        'INVALID_OPTION',
        `limit "${name}" is a ${kind} limit of consumer "${consumer}", and a ${known.table.kind} limit of ${[...known.consumers].join(', ')}: give one of them another name`,
        { option: 'share', consumer },
      )
    const named = known ?? this.#make(name, kind, declared)
    this.#byName.set(name, named)
    named.declared = declared
    named.consumers.add(consumer)
    if (named.set === null) named.table.resize(declared)
    return named.table
  }

  #make(name: string, kind: FlowLimit['kind'], declared: LimitSize): Named {
    const bytes = this.#host.get(setSize(name))
    const set = bytes === undefined ? null : fromJson<LimitSize>(bytes)
    const size = set ?? declared
    const table = kind === 'rate' ? new RateTable(name, size, this.#host) : new ConcurrencyTable(name, size)
    return { table, declared, set, consumers: new Set<string>() }
  }

  /** The limits that consumers have named since the engine was opened. */
  get states(): LimitState[] {
    return [...this.#byName].map(([name, { table, declared, consumers }]) => ({
      name,
      kind: table.kind,
      ...table.size,
      declared,
      keys: table.keys,
      waiting: table.waiting,
      consumers: [...consumers].sort(),
    }))
  }

  /**
   * Give a limit another size, or the declared one for null. Returns the limit as it is then; null where no consumer
   * has named it.
   */
  set(name: string, size: LimitSize | null): LimitState | null {
    const named = this.#byName.get(name)
    if (named === undefined) return null
    this.#host.write(setSize(name), size === null ? null : toJson(size))
    named.set = size
    named.table.resize(size ?? named.declared)
    return this.states.find((state) => state.name === name) ?? null
  }
}
