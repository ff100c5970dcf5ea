import { expect, test } from 'vitest'
import { memberNoteIn } from '../../src/external-log/ownership/member-note.ts'

const note = {
  beat: 1,
  leaseMs: 1,
  channels: [],
  idle: false,
  instances: 1,
  inFlight: 0,
  paused: false,
  rate: 0,
  blocked: [],
}
const counted = {
  consumer: 'c',
  instance: 'i',
  delivered: 1,
  completed: 1,
  retried: 0,
  deadLettered: 0,
  latency: [0, 1],
  duration: [],
}

test('a heartbeat with counts that are no counts is not a note', () => {
  const text = (value: unknown): string => JSON.stringify({ ...note, counted: value })
  expect(memberNoteIn(text(undefined))).toEqual(note)
  expect(memberNoteIn(text([counted]))?.counted).toEqual([counted])
  for (const strange of [
    {},
    [null],
    [{ ...counted, latency: 5 }],
    [{ ...counted, latency: ['x'] }],
    [{ ...counted, duration: Array.from({ length: 2000 }, () => 1) }],
    [{ ...counted, completed: -1 }],
    [{ ...counted, consumer: 7 }],
  ])
    expect(memberNoteIn(text(strange)), JSON.stringify(strange).slice(0, 60)).toBe(null)
})
