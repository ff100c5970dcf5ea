/** The state of a consumer as data, after all checks. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { stateChannelOf } from '../../base/names.ts'
import { shown } from '../../base/shown.ts'
import { knownOptions, sizeBytes, wholeNumber } from '../../base/units.ts'
import type { Capability } from '../../broker/capabilities.ts'
import type { Engine } from '../../broker/engine.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { keptSchemas, keptVersions } from '../../channel/kept-schemas.ts'
import { stateChannelSpec } from '../../channel/state-channel.ts'
import { type EarlierVersion, VERSION_MAX, type VersionedDefinition } from '../../event/event-version.ts'
import { jsonOf } from '../../event/json-data.ts'
import { schemaOutput } from '../../event/schema.ts'
import type { StateOptions } from './state-types.ts'

export interface StatePlan {
  readonly consumer: string
  /** The channel that holds it. */
  readonly channel: ChannelSpec
  /** The type of the events that hold states, with its versions. */
  readonly definition: VersionedDefinition & { readonly options: object }
  /** The stored form of the state of a key that has none; undefined: none. */
  initial(key: string): unknown
}

/** @throws INVALID_OPTION · INVALID_NAME when the name of the channel that holds the state would be too long */
export function statePlan(consumer: string, options: StateOptions): StatePlan {
  const of = `state of consumer "${consumer}"`
  const refuse = (option: string, message: string): never => {
    throw new MillraceError('INVALID_OPTION', message, { consumer, option })
  }
  knownOptions(options, ['schema', 'initial', 'version', 'migrate', 'maxBytes'], of)
  const { schema, migrate = {}, maxBytes = LIMITS.stateBytesDefault } = options
  if (typeof (schema as StandardSchemaV1 | undefined)?.['~standard']?.validate !== 'function')
    refuse('schema', `the ${of} needs a Standard Schema, of zod, valibot, arktype or another such library`)
  const version = wholeNumber(options.version ?? 1, `version of the ${of}`, 1, VERSION_MAX)
  const type = stateChannelOf(consumer)
  const bytesMax = wholeNumber(sizeBytes(maxBytes, 'maxBytes'), 'maxBytes', LIMITS.eventBytesMin, LIMITS.eventBytesMax)
  const earlier = migrations(migrate, version, (message) => refuse('migrate', `migrate of the ${of} ${message}`))
  const definition = { type, schema, version, earlier, options: {} }
  const schemas = keptSchemas([definition])
  const versions = keptVersions([definition])
  const channel = {
    ...stateChannelSpec(consumer, bytesMax),
    ...(schemas !== undefined && { schemas }),
    ...(versions !== undefined && { versions }),
  }
  return { consumer, channel, definition, initial: initialOf(consumer, options) }
}

/** The versions before the newest one: those that have a migration, without a gap. */
function migrations(
  given: NonNullable<StateOptions['migrate']>,
  version: number,
  refuse: (message: string) => never,
): EarlierVersion[] {
  if (typeof given !== 'object' || given === null) refuse(`is an object of functions by version; it is ${shown(given)}`)
  const numbers = Object.keys(given)
    .map(Number)
    .sort((a, b) => a - b)
  const [oldest = version] = numbers
  for (const [index, number] of numbers.entries())
    if (number !== oldest + index || number < 1)
      refuse(`has the versions ${numbers.join(', ')}: they are whole numbers from 1 without a gap`)
  if (oldest + numbers.length !== version)
    refuse(`ends at version ${oldest + numbers.length - 1}, and the newest version is ${version}: add the next ones`)
  return numbers.map((number) => {
    const upcast = given[number] as (state: never) => unknown
    if (typeof upcast !== 'function') refuse(`from version ${number} is ${shown(upcast)}, not a function`)
    return { version: number, schema: undefined, upcast }
  })
}

/** @throws INVALID_OPTION when a value can never be a state */
function initialOf(consumer: string, { schema, initial }: StateOptions): StatePlan['initial'] {
  if (initial === undefined) return () => undefined
  if (typeof initial === 'function') return initial as (key: string) => unknown
  const of = { type: stateChannelOf(consumer) }
  const text = jsonOf(initial, of)
  const judged = schemaOutput(schema, JSON.parse(text), of, 'published')
  if (judged instanceof Promise) judged.catch(() => undefined)
  return () => JSON.parse(text) as unknown
}

/** The version of the state that an instance knows, for its spec. */
export function stateVersion(plan: StatePlan | null): Readonly<Record<string, number>> {
  return plan === null ? {} : { [plan.definition.type]: plan.definition.version }
}

/** @throws CLAUSE_REFUSED */
export function refuseWithoutState(
  consumer: string,
  { name, capabilities }: Pick<Engine, 'name' | 'capabilities'>,
): void {
  // A server of an older version does not say.
  const capability: Capability | undefined = capabilities[19]
  if (capability !== undefined && capability.support !== 'refused') return
  const reason = capability?.reason ?? 'the server is of an older version'
  const message = `consumer "${consumer}" keeps state, and the engine ${name} refuses clause 19: ${reason}`
  throw new MillraceError('CLAUSE_REFUSED', message, { engine: name, clause: 19 })
}
