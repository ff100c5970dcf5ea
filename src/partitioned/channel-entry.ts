/** The registration of a channel, as it is stored on a server and read back: input like any other, because other clients may write there. */
import { isJsonObject, isNumberFrom, jsonObject } from '../base/json-object.ts'
import type { ChannelEntry } from './log-backend.ts'

/** More partitions than any channel has: a larger number is not a registration of Millrace. */
const PARTITIONS_MAX = 100_000

/** The registration in a text, or null where the text is not one. */
export function channelEntryIn(text: string): ChannelEntry | null {
  const entry = jsonObject(text)
  if (entry === null || typeof entry['incarnation'] !== 'string' || entry['incarnation'] === '') return null
  const partitions = entry['partitions']
  if (!Number.isInteger(partitions) || !isNumberFrom(partitions, 1) || partitions > PARTITIONS_MAX) return null
  return isSpec(entry['spec']) ? (entry as unknown as ChannelEntry) : null
}

function isSpec(spec: unknown): boolean {
  if (!isJsonObject(spec) || typeof spec['name'] !== 'string' || spec['name'] === '') return false
  const { kind, types, retain, dedupe, eventBytesMax } = spec
  if (kind !== 'stream' && kind !== 'queue') return false
  if (types !== null && !(Array.isArray(types) && types.every((type) => typeof type === 'string'))) return false
  if (!isJsonObject(retain) || !['ageMs', 'bytes', 'count'].every((name) => isLimit(retain[name])) || typeof retain['latestByKey'] !== 'boolean') return false
  if (dedupe !== null && !(isJsonObject(dedupe) && isNumberFrom(dedupe['ageMs'], 0) && isNumberFrom(dedupe['count'], 0))) return false
  const { key, schemas } = spec
  if (!(key === undefined || key === null || key === 'function' || (isJsonObject(key) && typeof key['path'] === 'string'))) return false
  if (schemas !== undefined && !(isJsonObject(schemas) && Object.values(schemas).every(isJsonObject))) return false
  return isNumberFrom(eventBytesMax, 1)
}

function isLimit(value: unknown): boolean {
  return value === null || isNumberFrom(value, 0)
}

/** What is said of a registration that cannot be read. */
export function damagedEntry(engine: string, where: string): string {
  return `${engine}: ${where} does not hold the registration of a channel, and is ignored: another client wrote there; remove what it wrote`
}
