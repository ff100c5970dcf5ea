/**
 * Takes an event in any of its forms (parsed, text, UTF-8 bytes) and fills `EventFields` with what patterns ask of it.
 */
import { MillraceError } from '../base/errors.ts'
import { EventFields } from './event-fields.ts'
import { EventScanner } from './event-scanner.ts'
import { walkEvent } from './event-walker.ts'
import { parseJson } from './json-tree.ts'
import type { PathNode } from './path-tree.ts'

/** An event: a parsed CloudEvent, or its JSON as text or as UTF-8 bytes. */
export type EventInput = object | string | Uint8Array

/** Text is copied here to be scanned as bytes; grows to the largest text seen, and larger texts than this get bytes of their own. */
const SCRATCH_BYTES_MAX = 4 * 1024 * 1024

export class EventReader {
  readonly fields: EventFields = new EventFields()
  readonly #scanner: EventScanner = new EventScanner(this.fields)
  #scratch: Buffer = Buffer.allocUnsafeSlow(4096)

  /**
   * Fill `fields` with the values of the fields below `root`.
   * @throws INVALID_EVENT when the event is no JSON object, or its text is not JSON where it is looked at
   */
  read(event: EventInput, root: PathNode): void {
    if (typeof event === 'string') this.#readText(event, root)
    else if (event instanceof Uint8Array) this.#readBytes(event, root)
    else if (typeof event === 'object' && event !== null && !Array.isArray(event)) walkEvent(event, root, this.fields)
    else throw new MillraceError('INVALID_EVENT', 'an event is an object, JSON text or UTF-8 bytes of JSON text', { type: typeof event })
  }

  #readText(text: string, root: PathNode): void {
    const room = text.length * 3
    let buffer = this.#scratch
    if (room > buffer.length) {
      buffer = Buffer.allocUnsafeSlow(room)
      if (room <= SCRATCH_BYTES_MAX) this.#scratch = buffer
    }
    const length = buffer.write(text, 0, 'utf8')
    const chars = length === text.length ? text : buffer.toString('latin1', 0, length)
    if (!this.#scanner.scan(buffer, length, chars, root)) this.#readTree(text, root)
  }

  #readBytes(bytes: Uint8Array, root: PathNode): void {
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (!this.#scanner.scan(buffer, buffer.length, buffer.toString('latin1'), root)) this.#readTree(buffer.toString('utf8'), root)
  }

  #readTree(text: string, root: PathNode): void {
    const event = parseJson(text, (reason) => {
      throw new MillraceError('INVALID_EVENT', `the event's text is not valid JSON: ${reason}`)
    })
    walkEvent(event as object, root, this.fields)
  }
}
