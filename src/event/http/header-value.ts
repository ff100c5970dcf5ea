/**
 * CloudEvents attribute values in HTTP headers: percent-encoding and decoding.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md §3.1.3.2
 */
import { MillraceError } from '../../base/errors.ts'

/** Characters to encode, as whole code points: space, `"`, `%`, and everything outside U+0021–U+007E. */
const TO_ENCODE = /[^\x21\x23\x24\x26-\x7e]/gu
const ENCODED = /(?:%[0-9A-Fa-f]{2})+/g
const QUOTED = /^"((?:[^"\\]|\\.)*)"$/
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Percent-encodes an attribute's value for an HTTP header. */
export function encodeHeaderValue(value: string): string {
  return value.replace(TO_ENCODE, (char) => {
    let text = ''
    for (const byte of Buffer.from(char)) text += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    return text
  })
}

/**
 * The attribute value of a header: quotes are removed, then it is percent-decoded once. A `%` without two hexadecimal
 * digits stays as it is, because some senders do not encode it.
 * @throws INVALID_EVENT when the decoded bytes are not UTF-8 (overlong forms included)
 */
export function decodeHeaderValue(name: string, value: string): string {
  const quoted = QUOTED.exec(value)?.[1]
  const text = quoted === undefined ? value : quoted.replace(/\\(.)/g, '$1')
  if (!text.includes('%')) return text
  return text.replace(ENCODED, (run) => {
    try {
      return strict.decode(Buffer.from(run.replaceAll('%', ''), 'hex'))
    } catch (cause) {
      throw new MillraceError(
        'INVALID_EVENT',
        `header ${name} holds ${run.slice(0, 60)}, which is not percent-encoded UTF-8`,
        { header: name },
        { cause },
      )
    }
  })
}
