/**
 * Reads an event in any form (parsed, text, UTF-8 bytes) and fills `EventFields` with the values that patterns need.
 */
import { MillraceError } from '../base/errors.ts'
import { EventFields } from './event-fields.ts'
import { EventScanner } from './event-scanner.ts'
import { walkEvent } from './event-walker.ts'
import { parseJson } from './json-tree.ts'
import type { PathNode } from './path-tree.ts'

/** An event: a parsed CloudEvent, or its JSON as text or as UTF-8 bytes. */
export type EventInput = object | string | Uint8Array

/** Texts are copied into a reused buffer, which grows up to this size. A larger text gets its own buffer. */
const SCRATCH_BYTES_MAX = 4 * 1024 * 1024
const QUOTE = 0x22

export class EventReader {
  readonly fields: EventFields = new EventFields()
  readonly #scanner: EventScanner = new EventScanner(this.fields)
  #scratch: Buffer = Buffer.allocUnsafeSlow(4096)

  /**
   * Fill `fields` with the values of the fields below `root`.
   * @throws INVALID_EVENT when the event is not a JSON object, or its text is malformed in a part that is read
   */
  read(event: EventInput, root: PathNode): void {
    if (typeof event === 'string') this.#readText(event, root)
    else if (event instanceof Uint8Array) this.#readBytes(event, root)
    else if (typeof event === 'object' && event !== null && !Array.isArray(event)) walkEvent(event, root, this.fields)
    else
      throw new MillraceError('INVALID_EVENT', 'an event is an object, JSON text or UTF-8 bytes of JSON text', {
        type: typeof event,
      })
  }

  #readText(text: string, root: PathNode): void {
    const buffer = this.#room(text.length * 3 + 2)
    const length = buffer.write(text, 0, 'utf8')
    const chars = length === text.length ? text : buffer.toString('latin1', 0, length)
    buffer[length] = QUOTE
    buffer[length + 1] = QUOTE
    if (!this.#scanner.scan(buffer, length, chars, root)) this.#readTree(text, root)
  }

  #readBytes(bytes: Uint8Array, root: PathNode): void {
    const { length } = bytes
    const buffer = this.#room(length + 2)
    buffer.set(bytes)
    buffer[length] = QUOTE
    buffer[length + 1] = QUOTE
    if (!this.#scanner.scan(buffer, length, buffer.toString('latin1', 0, length), root))
      this.#readTree(buffer.toString('utf8', 0, length), root)
  }

  /** A buffer for a text of this many bytes. */
  #room(bytes: number): Buffer {
    if (bytes <= this.#scratch.length) return this.#scratch
    const buffer = Buffer.allocUnsafeSlow(bytes)
    if (bytes <= SCRATCH_BYTES_MAX) this.#scratch = buffer
    return buffer
  }

  #readTree(text: string, root: PathNode): void {
    const event = parseJson(text, (reason) => {
      throw new MillraceError('INVALID_EVENT', `the event's text is not valid JSON: ${reason}`)
    })
    walkEvent(event as object, root, this.fields)
  }
}
