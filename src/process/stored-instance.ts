/**
 * How an instance is stored: as the state of the consumer that makes its steps.
 *
 * A timer is known by a token. The event of a timer that was cancelled or replaced still comes; its token is not in the
 * state any more, so it is ignored. Nothing else needs to be cancelled, and so a cancelled timer is in the same commit
 * as the state.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { promiseOf } from '../base/thrown.ts'
import type { EarlierState, StateOptions } from '../consumer/state/state-types.ts'
import { isSensitive, sensitiveMember } from './sensitive-form.ts'

export interface StoredTimer {
  readonly token: string
  readonly dueAtMs: number
}

export interface StoredInstance {
  readonly state: unknown
  readonly timers: Readonly<Record<string, StoredTimer>>
}

/** An instance as it is read. A schema may transform: what it made of a state is not a state that it takes. */
export interface Instance {
  /** What the schema made of the stored state: transitions get it. */
  readonly state: unknown
  /** The stored state: a step that sets none stores it again. */
  readonly stored: unknown
  readonly timers: Readonly<Record<string, StoredTimer>>
}

/** The instance as it is stored again. */
export function unchangedForm({ stored, timers }: Instance): StoredInstance {
  return { state: stored, timers }
}

type Schema = StandardSchemaV1<StoredInstance, Instance>

/** The state of the consumer: the user's state, validated and migrated by the user's own means, and the timers. */
export function instanceState(options: {
  readonly state: StandardSchemaV1
  readonly version?: number | undefined
  readonly migrate?: Readonly<Record<number, (state: EarlierState) => unknown>> | undefined
}): StateOptions<Schema> {
  const { state, version, migrate } = options
  const migrated = Object.entries(migrate ?? {}).map(
    ([from, step]) =>
      [
        from,
        typeof step === 'function'
          ? (stored: EarlierState) => ({ ...stored, state: step(stored['state'] as EarlierState) })
          : step,
      ] as const,
  )
  return {
    schema: storedSchema(state),
    ...(version !== undefined && { version }),
    ...(migrate !== undefined && { migrate: Object.fromEntries(migrated) }),
  }
}

function storedSchema(state: StandardSchemaV1): Schema {
  return {
    '~standard': {
      version: 1,
      vendor: 'millrace',
      ...(isSensitive(state) && sensitiveMember('state')),
      validate: (value) => {
        const stored = value as Partial<StoredInstance> | null
        if (typeof stored !== 'object' || stored === null || typeof stored.timers !== 'object')
          return { issues: [{ message: 'this is not an instance of a process' }] }
        const { timers } = stored as StoredInstance
        const within = (result: StandardSchemaV1.Result<unknown>): StandardSchemaV1.Result<Instance> =>
          result.issues === undefined
            ? { value: { state: result.value, stored: stored.state, timers } }
            : { issues: result.issues }
        const result = state['~standard'].validate(stored.state)
        const pending = promiseOf(result)
        return pending === null
          ? within(result as StandardSchemaV1.Result<unknown>)
          : pending.then((settled) => within(settled as StandardSchemaV1.Result<unknown>))
      },
    },
  }
}
