/** Clause 22, request and reply: a request gets its reply, an error, or a timeout, and nothing is left behind. */
import assert from 'node:assert/strict'
import { queue, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import type { HandlerContext } from '../../../consumer/consumer-types.ts'
import { event } from '../../../event/event.ts'
import { gate, holds, Note, numbers, type OrderEvent, Paid, Placed, placed, QUICK, refused } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

const Question = event('question')
const LONG = { timeout: '1m' } as const

const pays = ({ data }: OrderEvent, ctx: HandlerContext): Promise<void> => ctx.reply(Paid({ ...data, note: 'paid' }))

export const requests: readonly Scenario[] = clause(22, {
  'a-request-gets-its-reply': async (world) => {
    const broker = await world.connect()
    const orders = queue(world.name('orders'), { events: [Placed], key: 'data.order' })
    const name = world.name('payer')
    await broker.start(consumer(name, orders).on(Placed, pays))
    const reply = await broker.request(orders, placed('a', 7), { ...LONG, reply: Paid })
    assert.deepEqual([reply.type, reply.data], ['order.paid', { order: 'a', n: 7, note: 'paid' }])
    assert.deepEqual(broker.requests, { waiting: 0, late: 0 })
  },

  'each-of-many-requests-gets-its-own-reply': async (world) => {
    const broker = await world.connect()
    const orders = queue(world.name('orders'), { events: [Placed] })
    await broker.start(consumer(world.name('payer'), orders).on(Placed, pays))
    const replies = await Promise.all(
      numbers(100).map((n) => broker.request(orders, placed(`k${n % 7}`, n), { ...LONG, reply: Paid })),
    )
    assert.deepEqual(
      replies.map(({ data }) => data.n),
      numbers(100),
    )
    assert.equal(broker.requests.waiting, 0)
  },

  'each-broker-gets-the-replies-to-its-own-requests': [
    ['reopen'],
    async (world) => {
      const [broker, other] = [await world.connect(), await world.connect()]
      const orders = queue(world.name('orders'), { events: [Placed] })
      await broker.start(consumer(world.name('payer'), orders).on(Placed, pays))
      const ask = (from: typeof broker, n: number): Promise<{ data: { n: number } }> =>
        from.request(orders, placed('a', n), { ...LONG, reply: Paid })
      const replies = await Promise.all(numbers(20).map((n) => ask(n % 2 === 0 ? broker : other, n)))
      assert.deepEqual(
        replies.map(({ data }) => data.n),
        numbers(20),
      )
      assert.deepEqual([broker.requests.late, other.requests.late], [0, 0])
    },
  ],

  'an-attempt-that-fails-replies-nothing': async (world) => {
    const broker = await world.connect()
    const notes = queue(world.name('notes'), { events: [Question] })
    await broker.start(
      consumer(world.name('worker'), notes, { retry: QUICK }).on(Question, async (_, ctx) => {
        await ctx.reply(Note(ctx.attempt))
        if (ctx.attempt < 3) throw new Error('not yet')
      }),
    )
    const { replies } = await broker.requestMany(notes, Question(1), { ...LONG, reply: Note, answers: 1 })
    assert.deepEqual(
      replies.map(({ data }) => data),
      [3],
    )
    await world.quiet()
    assert.equal(broker.requests.late, 0, 'replies of the failed attempts were not stored')
  },

  'a-late-reply-is-dropped-and-counted': async (world) => {
    const broker = await world.connect()
    const notes = queue(world.name('notes'), { events: [Question] })
    const wait = gate()
    await broker.start(
      consumer(world.name('worker'), notes).on(Question, async ({ data }, ctx) => {
        if (data === 1) await wait.opened
        await ctx.reply(Note('a reply'))
      }),
    )
    // From the first request on, the broker reads replies.
    await broker.request(notes, Question(0), { ...LONG, reply: Note })
    await refused(() => broker.request(notes, Question(1), { timeout: '50ms' }), 'REQUEST_TIMEOUT', notes.name)
    assert.deepEqual(broker.requests, { waiting: 0, late: 0 })
    wait.open()
    await world.eventually(() => assert.deepEqual(broker.requests, { waiting: 0, late: 1 }))
  },

  'a-request-that-is-rejected-fails-with-the-reason': async (world) => {
    const broker = await world.connect()
    const notes = queue(world.name('notes'), { events: [Question] })
    const name = world.name('worker')
    await broker.start(consumer(name, notes).on(Question, (_, ctx) => ctx.reject('the hall is closed')))
    const error = await refused(
      () => broker.request(notes, Question(1), LONG),
      'REQUEST_FAILED',
      name,
      'the hall is closed',
    )
    const { problem } = error.details as { readonly problem?: { readonly status?: number; readonly detail?: string } }
    assert.deepEqual([problem?.status, problem?.detail], [422, 'the hall is closed'])
  },

  'a-request-whose-last-attempt-failed-tells-no-internals': async (world) => {
    const broker = await world.connect()
    const notes = queue(world.name('notes'), { events: [Question] })
    await broker.start(
      consumer(world.name('worker'), notes, { retry: { ...QUICK, attempts: 2 } }).on(Question, () => {
        throw new TypeError('a secret')
      }),
    )
    const error = await refused(() => broker.request(notes, Question(1), LONG), 'REQUEST_FAILED', 'TypeError')
    holds(!error.message.includes('secret'))
  },

  'a-request-to-a-stream-gathers-the-replies-of-its-consumers': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { events: [Question] })
    for (const name of ['a', 'b'])
      await broker.start(consumer(world.name(name), notes).on(Question, (_, ctx) => ctx.reply(Note(name))))
    await broker.start(consumer(world.name('c'), notes).on(Question, (_, ctx) => ctx.reject('no')))
    const all = await broker.requestMany(notes, Question(1), { ...LONG, reply: Note, answers: 3 })
    assert.deepEqual(all.replies.map(({ data }) => data).sort(), ['a', 'b'])
    assert.deepEqual(
      all.problems.map(({ consumer: by, problem }) => [by, problem.detail]),
      [[world.name('c'), 'no']],
    )
    const none = await broker.requestMany(stream(world.name('empty')), { type: 'question' }, { timeout: '50ms' })
    assert.deepEqual(none, { replies: [], problems: [] })
  },

  'a-reply-that-is-not-expected-is-refused': async (world) => {
    const broker = await world.connect()
    const notes = queue(world.name('notes'), { events: [Question] })
    await broker.start(
      consumer(world.name('worker'), notes).on(Question, ({ data }, ctx) =>
        ctx.reply(data === 'type' ? Note(1) : Paid({ order: 'a', n: -1 })),
      ),
    )
    await refused(() => broker.request(notes, Question('type'), { ...LONG, reply: Paid }), 'TYPE_NOT_CARRIED', 'note')
    await refused(() => broker.request(notes, Question('data'), { ...LONG, reply: Paid }), 'SCHEMA_MISMATCH')
  },

  'a-reply-to-an-event-that-nobody-asked-is-nothing': async (world) => {
    const broker = await world.connect()
    const notes = queue(world.name('notes'), { events: [Question] })
    const seen: unknown[] = []
    await broker.start(
      consumer(world.name('worker'), notes).on(Question, async ({ data }, ctx) => {
        await ctx.reply(Note(data))
        seen.push(data)
      }),
    )
    await broker.publish(notes, Question('told'))
    const { data } = await broker.request(notes, Question('asked'), { ...LONG, reply: Note })
    await world.eventually(() => assert.deepEqual([data, ...seen.toSorted()], ['asked', 'asked', 'told']))
  },

  'wrong-requests-are-refused': async (world) => {
    const broker = await world.connect()
    const notes = queue(world.name('notes'), { events: [Question] })
    const ask = (options: object): Promise<unknown> => broker.request(notes, Question(1), options)
    await refused(() => ask({ timeout: '1h' }), 'INVALID_OPTION', 'timeout')
    await refused(() => ask({ timeout: 0 }), 'INVALID_OPTION', 'timeout')
    await refused(() => ask({ answers: 2 }), 'INVALID_OPTION', 'answers')
    await refused(() => ask({ reply: 'note' }), 'INVALID_OPTION', 'reply')
    await refused(() => broker.requestMany(notes, Question(1), { answers: 0 }), 'INVALID_OPTION', 'answers')
    await refused(() => broker.request(notes, Note(1) as never, LONG), 'TYPE_NOT_CARRIED')
    await refused(() => broker.request(world.name('none'), { type: 'x' }, LONG), 'UNKNOWN_CHANNEL')
    assert.deepEqual(broker.requests, { waiting: 0, late: 0 }, 'nothing waits')
  },
})
