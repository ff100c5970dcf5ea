/**
 * The registration of a channel as it is stored on a server. Other clients may write there, so a registration that is
 * read back is checked like any other input.
 */
import { MillraceError } from '../base/errors.ts'
import { isJsonObject, isNumberFrom, jsonObject } from '../base/json-object.ts'
import type { ChannelEntry } from './log-backend.ts'

/**
 * The format of channels on servers that this version reads and writes. Format 1 has partitions by MD5 and no number in
 * its registration. Format 2 has partitions by murmur2. Channels of another format are left alone: two versions that
 * divide a channel by different functions would break the order of keys.
 */
export const CHANNEL_FORMAT = 2

export function isCurrent({ format }: ChannelEntry): boolean {
  return format === CHANNEL_FORMAT
}

/** The error for a channel that another version of Millrace created. */
export function foreignFormat({ format, spec: { name } }: ChannelEntry): MillraceError {
  const message = `channel "${name}" has format ${format}, and this version of Millrace works with format ${CHANNEL_FORMAT}: copy it to a directory with the version that created it (\`millrace copy\`), and from there with this one, or use another prefix`
  return new MillraceError('DATA_FOREIGN', message, { channel: name, format })
}

/** No channel has more partitions. A larger number is not a registration of Millrace. */
const PARTITIONS_MAX = 100_000

/** The registration in a text, or null if the text is not a registration. */
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
  if (types !== null && !areTexts(types)) return false
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
  const { key, schemas, versions, registered } = spec
  if (
    !(key === undefined || key === null || key === 'function' || (isJsonObject(key) && typeof key['path'] === 'string'))
  )
    return false
  if (schemas !== undefined && !(isJsonObject(schemas) && Object.values(schemas).every(isJsonObject))) return false
  if (versions !== undefined && !(isJsonObject(versions) && Object.values(versions).every(areVersions))) return false
  if (registered !== undefined && !(isJsonObject(registered) && Object.values(registered).every(areTexts))) return false
  return isNumberFrom(eventBytesMax, 1)
}

function areVersions(value: unknown): boolean {
  return isJsonObject(value) && isNumberFrom(value['version'], 1) && isJsonObject(value['earlier'])
}

function areTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}

function isLimit(value: unknown): boolean {
  return value === null || isNumberFrom(value, 0)
}

/** The message for a registration that cannot be read. */
export function damagedEntry(engine: string, where: string): string {
  return `${engine}: ${where} does not hold the registration of a channel, and is ignored: another client wrote there; remove what it wrote`
}
