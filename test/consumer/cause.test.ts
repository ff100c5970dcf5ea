/** What an emission says of its cause. */
import { describe, expect, test } from 'vitest'
import { caused, causeOf } from '../../src/consumer/cause.ts'
import { madeTraceparent, parseTraceparent, traceIdOf } from '../../src/event/trace-context.ts'
import { consumer, queue } from '../../src/index.ts'
import { Noted, notes, open } from './fixture.ts'

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const UUID = '0190163d-8694-7a83-93c7-0123456789ab'

const cause = (more: object = {}): ReturnType<typeof causeOf> => causeOf('c', JSON.stringify({ id: 'c', ...more }))

describe('a cause', () => {
  test('without a correlation id begins a chain', () => {
    expect(cause()).toMatchObject({ causationid: 'c', correlationid: 'c' })
    expect(cause({ correlationid: 'story' })).toMatchObject({ causationid: 'c', correlationid: 'story' })
  })
  test('passes its trace context on unchanged', () => {
    expect(cause({ traceparent: TRACEPARENT, tracestate: 'a=1' })).toMatchObject({
      traceparent: TRACEPARENT,
      tracestate: 'a=1',
    })
  })
  test.each(['', 'nonsense', 7, TRACEPARENT.replace('00-', 'ff-'), `00-${'0'.repeat(32)}-b7ad6b7169203331-01`])(
    'begins a trace where its own is %j, without a state that belongs to no trace',
    (traceparent) => {
      const made = cause({ traceparent, tracestate: 'a=1' })
      expect(parseTraceparent(made.traceparent)).toMatchObject({ sampled: false, traceId: traceIdOf('c') })
      expect(made.tracestate).toBeUndefined()
    },
  )
  test('gives all events of a chain one trace id, derived from the UUID', () => {
    expect(madeTraceparent(UUID, UUID)).toBe('00-0190163d86947a8393c70123456789ab-93c70123456789ab-00')
    expect(parseTraceparent(madeTraceparent('story', 'a'))?.traceId).toBe(
      parseTraceparent(madeTraceparent('story', 'b'))?.traceId,
    )
    const nil = '00000000-0000-0000-0000-000000000000'
    expect(parseTraceparent(madeTraceparent(nil, nil))).not.toBeNull()
    expect(parseTraceparent(madeTraceparent(UUID, '0190163d-8694-7a83-0000-000000000000'))).not.toBeNull()
  })
})

describe('an emission', () => {
  const from = cause({ correlationid: 'story', traceparent: TRACEPARENT, tracestate: 'a=1' })
  test('keeps the cause, correlation and trace that it has itself', () => {
    const own = { type: 't', causationid: 'x', correlationid: 'y', traceparent: 'z' }
    expect(caused(own, from)).toEqual(own)
    expect(caused({ type: 't', extensions: { correlationid: 'y', traceparent: 'z' } }, from)).toEqual({
      type: 't',
      causationid: 'c',
      extensions: { correlationid: 'y', traceparent: 'z' },
    })
  })
  test('with the cause undefined gets its cause, and with null gets none', () => {
    expect(caused({ type: 't', causationid: undefined } as never, from)).toMatchObject({ causationid: 'c' })
    expect(caused({ type: 't', causationid: null } as never, from)).toMatchObject({ causationid: null })
  })
  test('with attributes in `extensions` is stored with them', async () => {
    const { broker, clock } = open()
    const out = queue('out')
    await broker.declare(out)
    await broker.start(
      consumer('worker', notes).on(Noted, (_, ctx) =>
        ctx.emit(out, { type: 't', extensions: { correlationid: 'own', tracestate: 'a=1' } }),
      ),
    )
    await broker.publish(notes, Noted(1, { id: 'n-1' }))
    await clock.pass(10)
    const found: unknown[] = []
    for await (const each of broker.read(out)) found.push(each)
    expect(found).toEqual([expect.objectContaining({ causationid: 'n-1', correlationid: 'own', tracestate: 'a=1' })])
    expect(found[0]).not.toHaveProperty('traceparent')
  })
})
