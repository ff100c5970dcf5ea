/**
 * Masks the sensitive fields of an event's text: each value that its schema marks with `"x-sensitive": true` becomes
 * the text `"[masked]"`. Everything else keeps its bytes.
 *
 * An attribute of the event that has or contains the value of a masked field, such as the key that was made from it, is
 * masked too. The id, the type and the source stay. Data that cannot be looked into (binary data, a text where the
 * schema has members) is masked whole.
 */
import type { JsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import { JsonRefusal, JsonScanner } from '../json-scanner.ts'
import { markedPlaces, type Place, type Shape } from './marked-places.ts'
import { contains, quotedValues, redacted } from './quoted-values.ts'

/** What stands in the place of a masked value. */
export const MASK = '[masked]'

const MASK_TEXT = JSON.stringify(MASK)
const NO_BOUNDS = {
  depthMax: Number.POSITIVE_INFINITY,
  namesMax: Number.POSITIVE_INFINITY,
  valuesMax: Number.POSITIVE_INFINITY,
}
/** Attributes that never come from data, or that name the event. */
const KEPT = new Set(['id', 'type', 'source', 'specversion', 'time', 'datacontenttype', 'dataschema'])
/** Attributes of ids, which contain short values by chance. They are masked only if they are the value. */
const OF_IDS = new Set(['causationid', 'correlationid', 'traceparent', 'tracestate'])

/** An event with its sensitive fields masked. */
export interface MaskedEvent {
  readonly text: string
  /** Whether something was masked. */
  readonly masked: boolean
  /** A sensitive field had the mask for its value: the event was made from a masked one. */
  readonly fromMasked: boolean
  /** Another text about the event, with the masked values masked where it quotes them; null stays null. */
  redact<Text extends string | null>(text: Text): Text
}

/** Compiled once for each schema. */
export class SensitiveFields {
  readonly #data: Place

  private constructor(data: Place) {
    this.#data = data
  }

  /** Null if the schema marks nothing. */
  static of(schema: JsonObject): SensitiveFields | null {
    const data = markedPlaces(schema)
    return data === null ? null : new SensitiveFields(data)
  }

  /** Mask an event, given as CloudEvents JSON. Of a text that is not JSON, nothing is shown. */
  mask(text: string): MaskedEvent {
    try {
      return new Masking(text, this.#data).masked()
    } catch (error) {
      if (!(error instanceof JsonRefusal)) throw error
      return {
        text: `{"data":${MASK_TEXT}}`,
        masked: true,
        fromMasked: false,
        redact: (other) => (other === null ? other : MASK) as never,
      }
    }
  }
}

/** An event that has nothing to mask. */
export function unmasked(text: string): MaskedEvent {
  return { text, masked: false, fromMasked: false, redact: (other) => other }
}

interface Span {
  readonly from: number
  readonly to: number
}

class Masking {
  readonly #text: string
  readonly #place: Place
  readonly #scanner: JsonScanner
  readonly #spans: Span[] = []
  readonly #values = new Set<string>()
  /** There are more values than are remembered: any text about the event may quote one of the others. */
  #more = false

  constructor(text: string, place: Place) {
    this.#text = text
    this.#place = place
    this.#scanner = new JsonScanner(text, NO_BOUNDS)
  }

  masked(): MaskedEvent {
    const attributes: (readonly [name: string, value: string, span: Span])[] = []
    this.#scanner.object(this.#scanner.start(), (nameAt, nameEnd, from, to) => {
      const name = this.#parsed(nameAt, nameEnd)
      if (name === 'data') this.#visit(this.#place, from, to)
      else if (name === 'data_base64') this.#spans.push({ from, to })
      else if (!KEPT.has(name)) attributes.push([name, this.#parsed(from, to), { from, to }])
    })
    for (const [name, value, span] of attributes) if (this.#isMasked(name, value)) this.#spans.push(span)
    if (this.#spans.length === 0) return unmasked(this.#text)
    const values = quotedValues(this.#values)
    const redact = (text: string): string => (this.#more ? MASK : redacted(text, values, MASK))
    return {
      text: this.#replaced(),
      masked: true,
      fromMasked: this.#values.has(MASK),
      redact: (text) => (text === null ? text : redact(text)) as typeof text,
    }
  }

  /** Whether an attribute is masked. */
  #isMasked(name: string, value: string): boolean {
    if (this.#more || this.#values.has(value)) return true
    return !OF_IDS.has(name) && contains(value, this.#values)
  }

  #parsed(from: number, to: number): string {
    return String(JSON.parse(this.#text.slice(from, to)))
  }

  #visit(place: Place, from: number, to: number): void {
    const first = this.#text.charAt(from)
    const shape = shapeOf(first)
    if (place.marked || (shape !== null && !place.takes(shape))) return this.#hide(from, to)
    if (first === '{') {
      this.#scanner.object(from, (nameAt, nameEnd, valueAt, valueEnd) => {
        const member = place.member(this.#parsed(nameAt, nameEnd))
        if (member !== null) this.#visit(member, valueAt, valueEnd)
      })
    } else if (first === '[') {
      let index = 0
      this.#scanner.array(from, (at) => {
        const end = this.#scanner.value(at)
        const item = place.item(index++)
        if (item !== null) this.#visit(item, at, end)
        return end
      })
    }
  }

  #hide(from: number, to: number): void {
    this.#spans.push({ from, to })
    this.#remember(JSON.parse(this.#text.slice(from, to)))
  }

  /** Remember the texts and numbers of a value that is masked. */
  #remember(value: unknown): void {
    if (this.#values.size >= LIMITS.sensitiveValuesMax) {
      this.#more = true
      return
    }
    if (typeof value === 'string' || typeof value === 'number') this.#values.add(String(value))
    else if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) this.#remember(each)
  }

  #replaced(): string {
    const spans = this.#spans.sort((a, b) => a.from - b.from)
    let masked = ''
    let at = 0
    for (const { from, to } of spans) {
      masked += this.#text.slice(at, from) + MASK_TEXT
      at = to
    }
    return masked + this.#text.slice(at)
  }
}

/** The shape of the value that begins with this character; null for true, false and null. */
function shapeOf(first: string): Shape | null {
  if (first === '{') return 'object'
  if (first === '[') return 'array'
  if (first === '"') return 'string'
  return /[tfn]/.test(first) ? null : 'number'
}
