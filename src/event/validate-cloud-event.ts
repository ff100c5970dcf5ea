/**
 * Checks whether a value is a valid CloudEvents 1.0.2 event in the JSON format. The decoder of HTTP messages uses it,
 * and so do the readers of events that plain clients wrote to another broker.
 *
 * It is stricter than the official JSON Schema and the `cloudevents` SDK, which both accept events that the
 * specification forbids. Nothing is repaired here. A `null` attribute is an absent one, as the JSON format says; a
 * required one must be there.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
 */
import { LIMITS } from '../base/limits.ts'
import { isTime } from '../base/time-text.ts'

/** Text that needs no further check: printable ASCII. */
const PLAIN = /^[\x20-\x7e]+$/
/** §Type System, String: control characters, lone surrogates and noncharacters. */
const BARRED =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what the specification bars
  /[\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]|[\ud83f\ud87f\ud8bf\ud8ff\ud93f\ud97f\ud9bf\ud9ff\uda3f\uda7f\udabf\udaff\udb3f\udb7f\udbbf\udbff][\udffe\udfff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/
/** RFC 3986, by its characters: text with a character that no URI reference has is refused. */
const URI_REFERENCE = /^[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]+$/
const ESCAPE = /%[0-9A-Fa-f]{2}/g
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:/
/** RFC 2046 with RFC 7230's tokens and quoted strings. */
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const MEDIA_TYPE = new RegExp(
  `^${TOKEN}/${TOKEN}(?:[ \\t]*;[ \\t]*${TOKEN}=(?:${TOKEN}|"(?:[^"\\\\]|\\\\.)*"))*[ \\t]*;?$`,
)
const EXTENSION_NAME = /^[a-z0-9]+$/
const NOT_BASE64 = /[^A-Za-z0-9+/=]/
const INTEGER_MAX = 0x7fff_ffff
const INTEGER_MIN = -0x8000_0000

type Check = (value: string) => string | undefined

/** The rule for each attribute of the core specification, besides being a string that is not empty. */
const CORE: Readonly<Record<string, Check>> = {
  specversion: (value) => (value === '1.0' ? undefined : `must be "1.0"; it is "${value.slice(0, 20)}"`),
  id: () => undefined,
  type: () => undefined,
  source: (value) => (isUriReference(value) ? undefined : 'must be a URI reference (RFC 3986)'),
  subject: () => undefined,
  time: (value) =>
    isTime(value) ? undefined : 'must be an RFC 3339 time with seconds and offset, such as 2026-01-31T12:00:00Z',
  datacontenttype: (value) => (MEDIA_TYPE.test(value) ? undefined : 'must be a media type such as application/json'),
  dataschema: (value) => (isUriReference(value) && SCHEME.test(value) ? undefined : 'must be an absolute URI'),
  // Extension attributes with types of their own.
  partitionkey: () => undefined,
  traceparent: () => undefined,
  tracestate: () => undefined,
}
const REQUIRED = ['specversion', 'id', 'source', 'type'] as const

/**
 * Why a value is not a valid CloudEvent in the JSON format; an empty array when it is one.
 *
 * @example
 * ```ts
 * import { validateCloudEvent } from 'millrace'
 *
 * const event = { specversion: '1.0', id: '1', source: '/shop', type: 'cart.item.added' }
 * validateCloudEvent(event) // []
 * validateCloudEvent({ ...event, id: '' }) // ['id must not be empty']
 * ```
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
 */
export function validateCloudEvent(value: unknown): string[] {
  try {
    return reasonsOf(value)
  } catch (error) {
    return [`an event must be readable: ${error instanceof Error ? error.message : 'a member throws'}`]
  }
}

function reasonsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return ['an event must be a JSON object']
  const event = value as Readonly<Record<string, unknown>>
  const reasons: string[] = []
  for (const name of REQUIRED) {
    if (event[name] === undefined || event[name] === null || !Object.hasOwn(event, name))
      reasons.push(`${name} is required`)
  }
  for (const name in event) {
    if (name === 'data' || name === 'data_base64') continue
    const reason = attributeReason(name, event[name])
    if (reason !== undefined) reasons.push(`${name.slice(0, LIMITS.attributeNameCharsMax)} ${reason}`)
  }
  const base64 = event['data_base64']
  if (base64 !== undefined && base64 !== null) {
    if (typeof base64 !== 'string' || !isBase64(base64)) reasons.push('data_base64 must be base64 text (RFC 4648)')
    if (event['data'] !== undefined) reasons.push('data and data_base64 cannot both be there')
  }
  return reasons
}

/** Why an attribute cannot have this name or this value; `undefined` if it can, or has no value. */
export function attributeReason(name: string, value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined
  const check = Object.hasOwn(CORE, name) ? CORE[name] : undefined
  if (check !== undefined) return typeof value === 'string' ? (textReason(value) ?? check(value)) : 'must be a string'
  if (!EXTENSION_NAME.test(name)) return 'is not an attribute name: use lower-case letters and digits only'
  switch (typeof value) {
    case 'boolean':
      return undefined
    case 'string':
      return textReason(value)
    case 'number':
      return Number.isInteger(value) && value <= INTEGER_MAX && value >= INTEGER_MIN
        ? undefined
        : 'must be a whole number of 32 bits'
    default:
      return 'must be a string, a boolean or a whole number of 32 bits'
  }
}

function textReason(value: string): string | undefined {
  if (value === '') return 'must not be empty'
  return PLAIN.test(value) || !BARRED.test(value)
    ? undefined
    : 'holds control characters, noncharacters or half a surrogate pair'
}

function isUriReference(value: string): boolean {
  return URI_REFERENCE.test(value) || (value.includes('%') && URI_REFERENCE.test(value.replace(ESCAPE, '_')))
}

/** Searches for a wrong character: one match over megabytes overflows the stack of the regular expression engine. */
export function isBase64(value: string): boolean {
  if (value.length % 4 !== 0 || NOT_BASE64.test(value)) return false
  const padding = value.indexOf('=')
  return padding < 0 || padding === value.length - 1 || (padding === value.length - 2 && value.endsWith('=='))
}
