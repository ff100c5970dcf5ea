/**
 * Masks the sensitive fields of an event's text: each value that its schema marks with `"x-sensitive": true` becomes
 * the text `"[masked]"`. Everything else keeps its bytes.
 *
 * An attribute of the event that has the value of a masked field, such as the key that was made from it, is masked too.
 * The id stays. Data that cannot be looked into (binary data, a text where the schema has members) is masked whole.
 */
import type { JsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import { JsonRefusal, JsonScanner } from '../json-scanner.ts'
import { markedPlaces, type Place } from './marked-places.ts'

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

  constructor(text: string, place: Place) {
    this.#text = text
    this.#place = place
    this.#scanner = new JsonScanner(text, NO_BOUNDS)
  }

  masked(): MaskedEvent {
    const attributes: (readonly [value: string, span: Span])[] = []
    this.#scanner.object(this.#scanner.start(), (nameAt, nameEnd, from, to) => {
      const name = this.#parsed(nameAt, nameEnd)
      if (name === 'data') this.#data(from, to)
      else if (name === 'data_base64') this.#spans.push({ from, to })
      else if (!KEPT.has(name)) attributes.push([this.#parsed(from, to), { from, to }])
    })
    for (const [value, span] of attributes) if (this.#values.has(value)) this.#spans.push(span)
    if (this.#spans.length === 0) return unmasked(this.#text)
    const values = [...this.#values].sort((a, b) => b.length - a.length)
    return {
      text: this.#replaced(),
      masked: true,
      fromMasked: this.#values.has(MASK),
      redact: (text) => (text === null ? text : redacted(text, values)) as typeof text,
    }
  }

  #parsed(from: number, to: number): string {
    return String(JSON.parse(this.#text.slice(from, to)))
  }

  #data(from: number, to: number): void {
    const isText = this.#text.charAt(from) === '"'
    if (isText && !this.#place.takesText) this.#hide(from, to)
    else this.#visit(this.#place, from, to)
  }

  #visit(place: Place, from: number, to: number): void {
    if (place.marked) return this.#hide(from, to)
    const first = this.#text.charAt(from)
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
    if (this.#values.size >= LIMITS.sensitiveValuesMax) return
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

/** Shorter values are masked only where a text is nothing but the value: every text has them by chance. */
const QUOTED_MIN = 3
/** An error message may quote only the beginning of a long value. */
const BEGINNING = 8

function redacted(text: string, values: readonly string[]): string {
  if (values.includes(text)) return MASK
  let result = text
  for (const value of values) {
    if (value.length < QUOTED_MIN) continue
    const beginning = value.slice(0, BEGINNING)
    const parts = result.split(beginning)
    if (parts.length === 1) continue
    const [head = '', ...rest] = parts
    // What follows the beginning is part of the value as far as it is the same.
    result = head + rest.map((part) => MASK + part.slice(sharedLength(part, value.slice(BEGINNING)))).join('')
  }
  return result
}

function sharedLength(a: string, b: string): number {
  let length = 0
  while (length < b.length && a[length] === b[length]) length++
  return length
}
