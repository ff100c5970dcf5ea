/**
 * An event that Millrace passes on as it is: to another channel, or to a URL.
 *
 * Its data keeps its text. The attributes that rules add to an event in an action's queue are removed.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { attribute, type StoredEvent, setAside } from '../event/cloud-event.ts'
import { DATA_TEXT, type Encodable, encodeEvent } from '../event/encode.ts'
import { memberText } from '../event/http/json-text.ts'
import { STRUCTURED } from '../event/http/media-type.ts'

/** The content type of `structuredBody`. */
export const STRUCTURED_UTF8: string = `${STRUCTURED}; charset=utf-8`

/** Attributes of an event in an action's queue: where it comes from, and which version of the rule it matched. */
export const FIRING_ATTRIBUTES = ['rulechannel', 'ruleoffset', 'rulekey', 'ruleversion'] as const

/**
 * The event, to be published again. Attributes that a publisher would add are not added; those in `more` are set.
 */
export function passedEvent(text: string, more: Readonly<Record<string, unknown>> = {}): Encodable {
  const event = JSON.parse(text) as Record<string, unknown> & {
    readonly type: string
    offset?: unknown
    extensions?: object
  }
  setAside(event)
  const { specversion: _, data_base64: base64, ...attributes } = event
  for (const name of FIRING_ATTRIBUTES) delete attributes[name]
  const dataText = memberText(text, 'data')
  return {
    // It is the same event: it has no other cause than its own.
    ...{ causationid: null, correlationid: null, traceparent: null, tracestate: null, time: null },
    ...attributes,
    ...(typeof base64 === 'string' && { data: new Uint8Array(Buffer.from(base64, 'base64')) }),
    ...(dataText !== undefined && { [DATA_TEXT]: dataText }),
    ...more,
  }
}

/** The event as an HTTP body, in the structured mode of CloudEvents. */
export function structuredBody(text: string): string {
  return encodeEvent(passedEvent(text), null, '/', Number.POSITIVE_INFINITY).text
}

/**
 * The attribute `rulehops` of an event that `event` causes: how many rules and replies of subscribers have caused each
 * other up to it.
 *
 * @throws INVALID_RULE above the limit, because rules then trigger each other
 */
export function nextHops(event: StoredEvent): number {
  const hops = Number(attribute(event, 'rulehops') ?? 0) + 1
  if (hops <= LIMITS.ruleHopsMax) return hops
  throw new MillraceError(
    'INVALID_RULE',
    `the event has come through ${LIMITS.ruleHopsMax} rules, each caused by the one before: the rules may trigger each other`,
    {
      path: 'then',
      reason: 'rules trigger each other',
    },
  )
}
