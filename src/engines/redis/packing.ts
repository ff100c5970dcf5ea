/**
 * Events on their way to the server: two arguments for any number of events, because an argument costs the client and
 * the server more than its bytes.
 *
 *     lengths   20 × n   of each event, little-endian: partition · bytes of id · key · head · text
 *     bytes              of each event: id, key, head, text, UTF-8
 *
 * An id that stands in the text is not among the bytes: `IN_TEXT` is added to its length. The script APPEND reads this
 * form.
 */
import type { AppendItem } from '../../external-log/log-backend.ts'
import { beginsPlainly, headOf } from './entries.ts'
import { IN_TEXT } from './scripts.ts'

const NUMBERS = 5

export function packed(items: readonly AppendItem[]): [lengths: Buffer, bytes: Buffer] {
  const pieces: string[] = []
  // Whether the id of an item stands in its text, and so not among the pieces.
  const inText: boolean[] = []
  for (const { dedupeId, event } of items) {
    const plain = beginsPlainly(event)
    const inside = plain && (dedupeId === null || dedupeId === event.id)
    inText.push(inside)
    pieces.push(inside ? '' : (dedupeId ?? ''), event.key ?? '', plain ? '' : headOf(event), event.text)
  }
  const text = pieces.join('')
  const isAscii = Buffer.byteLength(text) === text.length
  const lengthOf = isAscii
    ? (piece: string): number => piece.length
    : (piece: string): number => Buffer.byteLength(piece)
  const lengths = Buffer.allocUnsafe(items.length * NUMBERS * 4)
  let end = 0
  for (let at = 0; at < items.length; at++) {
    const { partition, dedupeId } = items[at] as AppendItem
    const id =
      inText[at] === true && dedupeId !== null ? IN_TEXT + lengthOf(dedupeId) : lengthOf(pieces[4 * at] as string)
    end = lengths.writeUInt32LE(partition, end)
    end = lengths.writeUInt32LE(id, end)
    for (let piece = 4 * at + 1; piece < 4 * at + 4; piece++)
      end = lengths.writeUInt32LE(lengthOf(pieces[piece] as string), end)
  }
  return [lengths, Buffer.from(text, isAscii ? 'latin1' : 'utf8')]
}
