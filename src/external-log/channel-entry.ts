/** The registration of a channel, as it is stored on a server and read back: input like any other, because other clients may write there. */
import { MillraceError } from '../base/errors.ts'
import { isJsonObject, isNumberFrom, jsonObject } from '../base/json-object.ts'
import type { ChannelEntry } from './log-backend.ts'

/**
 * The format of channels on servers that this version reads and writes. 1 had partitions by MD5, and no number in its registration; 2 has them by murmur2.
 * Channels of another format are left alone: who would share their partitions by another function would break the order of keys.
 */
export const CHANNEL_FORMAT = 2

export function isCurrent({ format }: ChannelEntry): boolean {
  return format === CHANNEL_FORMAT
}

/** What is said of a channel that another version of Millrace created. */
export function foreignFormat({ format, spec: { name } }: ChannelEntry): MillraceError {
  const message = `channel "${name}" has format ${format}, and this version of Millrace works with format ${CHANNEL_FORMAT}: copy it to a directory with the version that created it (\`millrace copy\`), and from there with this one, or use another prefix`
  return new MillraceError('DATA_FOREIGN', message, { channel: name, format })
}

/** More partitions than any channel has: a larger number is not a registration of Millrace. */
const PARTITIONS_MAX = 100_000

/** The registration in a text, or null where the text is not one. */
export function channelEntryIn(text: string): ChannelEntry | null {
  const entry = jsonObject(text)
  if (entry === null || typeof entry['incarnation'] !== 'string' || entry['incarnation'] === '') return null
  const partitions = entry['partitions']
  if (!Number.isInteger(partitions) || !isNumberFrom(partitions, 1) || partitions > PARTITIONS_MAX) return null
  const format = entry['format'] ?? 1
  if (!Number.isInteger(format) || !isNumberFrom(format, 1)) return null
  return isSpec(entry['spec']) ? ({ ...entry, format } as unknown as ChannelEntry) : null
}

function isSpec(spec: unknown): boolean {
  if (!isJsonObject(spec) || typeof spec['name'] !== 'string' || spec['name'] === '') return false
  const { kind, types, retain, dedupe, eventBytesMax } = spec
  if (kind !== 'stream' && kind !== 'queue') return false
  if (types !== null && !(Array.isArray(types) && types.every((type) => typeof type === 'string'))) return false
  if (
    !isJsonObject(retain) ||
    !['ageMs', 'bytes', 'count'].every((name) => isLimit(retain[name])) ||
    typeof retain['latestByKey'] !== 'boolean'
  )
    return false
  if (
    dedupe !== null &&
    !(isJsonObject(dedupe) && isNumberFrom(dedupe['ageMs'], 0) && isNumberFrom(dedupe['count'], 0))
  )
    return false
  const { key, schemas } = spec
  if (
    !(key === undefined || key === null || key === 'function' || (isJsonObject(key) && typeof key['path'] === 'string'))
  )
    return false
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
