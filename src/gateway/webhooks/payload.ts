/** Bodies of webhooks: JSON, or a form with JSON in it. A body is parsed only after its signature was verified. */
import { essenceOf } from '../../event/http/media-type.ts'
import { jsonOf } from '../json-body.ts'
import { badRequest } from '../problem.ts'
import type { Payload, Verified } from './scheme.ts'

const FORM = 'application/x-www-form-urlencoded'

export function isForm(headers: Headers): boolean {
  const contentType = headers.get('content-type')
  return contentType !== null && essenceOf(contentType) === FORM
}

/** The payload of a delivery whose body is a JSON object. @throws INVALID_REQUEST when it is not one */
export function jsonPayload({ headers, body }: Verified): Payload {
  return objectOf(body, headers.get('content-type'))
}

/**
 * JSON, or a form whose field `payload` is JSON, or (with `fields`) a form whose fields are the payload. @throws
 * INVALID_REQUEST
 */
export function formOrJsonPayload({ headers, body }: Verified, fields = false): Payload {
  if (!isForm(headers)) return objectOf(body, headers.get('content-type'))
  const form = new URLSearchParams(Buffer.from(body).toString())
  const inner = form.get('payload')
  if (inner !== null) return objectOf(Buffer.from(inner), null)
  if (!fields) throw badRequest(400, 'the form has no member "payload"')
  return objectOf(Buffer.from(JSON.stringify(Object.fromEntries(form))), null)
}

function objectOf(bytes: Uint8Array, contentType: string | null): Payload {
  const { value, text } = jsonOf(bytes, contentType)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest(400, 'the payload of a webhook is a JSON object')
  return { value: value as Payload['value'], text: text.trim() }
}
