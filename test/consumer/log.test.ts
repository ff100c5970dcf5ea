/**
 * What the person on call sees by default: one line for each kind of problem, with a count, in the application's logger
 * or on standard error.
 */
import { spawnSync } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { connectWith } from '../../src/broker/connect.ts'
import type { ConsumerSpec } from '../../src/broker/engine.ts'
import { Log } from '../../src/broker/log.ts'
import { type LogFields, type Logger, lineOf, sinkOf } from '../../src/broker/logger.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { type ConsumerHooks, consumer, type FailedAttempt, queue } from '../../src/index.ts'
import { Gate, Noted, notes, open, turns } from './fixture.ts'

interface Line {
  readonly level: string
  readonly message: string
  readonly fields: LogFields
}

function recorded(): { readonly lines: Line[]; readonly log: Log } {
  const lines: Line[] = []
  return { lines, log: new Log((level, message, fields) => lines.push({ level, message, fields })) }
}

const QUICK = { attempts: 3, backoff: 'fixed', min: 10 } as const

describe('a consumer writes a line about', () => {
  test('an attempt that is tried again, with the next time, and of the dead letter', async () => {
    const { lines, log } = recorded()
    const { broker, clock } = open({ log })
    await broker.start(
      consumer('worker', notes, { retry: { ...QUICK, attempts: 2 } }).on(Noted, () => {
        throw Object.assign(new Error('the ledger is closed'), { code: 'ELEDGER' })
      }),
    )
    const { id } = await broker.publish(notes, Noted(1, { id: 'n-1' }))
    await clock.pass(100)
    const about = {
      consumer: 'worker',
      channel: 'notes',
      offset: 0,
      event: id,
      type: 'noted',
      attempts: 2,
      error: 'Error: the ledger is closed',
      code: 'ELEDGER',
      kind: 'error',
    }
    expect(lines).toEqual([
      {
        level: 'warn',
        message: 'an attempt failed, and is tried again',
        fields: { ...about, attempt: 1, next: expect.stringMatching(/^1970-.*Z$/) },
      },
      {
        level: 'error',
        message: 'the last attempt failed: an event is a dead letter',
        fields: { ...about, attempt: 2 },
      },
    ])
  })

  test('an event that is rejected', async () => {
    const { lines, log } = recorded()
    const { broker, clock } = open({ log })
    await broker.start(consumer('worker', notes).on(Noted, (_, ctx) => ctx.reject('no such account')))
    await broker.publish(notes, Noted(1))
    await clock.pass(10)
    expect(lines.map(({ level, message, fields }) => [level, message, fields['kind']])).toEqual([
      ['error', 'an event is a dead letter', 'rejected'],
    ])
  })

  test('an event that workers died with, up to its last attempt: by a line, the hook and the count', async () => {
    const { lines, log } = recorded()
    const { broker, clock, engine } = open({ log })
    await broker.publish(notes, Noted(1, { id: 'n-1' }))
    const dying: ConsumerSpec = {
      name: 'worker',
      channels: ['notes'],
      wants: [{ type: null, pattern: null }],
      from: { at: 'beginning' },
      onDead: null,
      credit: 1,
      perKey: 1,
      leaseMs: 50,
      attemptsMax: 1,
      stallMs: 30_000,
    }
    const silent = await engine.subscribe(dying, {
      deliver: () => undefined,
      revoked: () => undefined,
      passesOn: false,
    })
    await clock.pass(1000)
    await silent.close()
    const told: FailedAttempt[] = []
    const on: ConsumerHooks = { failed: (each) => told.push(each), dead: (each) => told.push(each) }
    const worker = consumer('worker', notes, { retry: { ...QUICK, attempts: 1 }, on }).on(Noted, () => undefined)
    const running = await broker.start(worker)
    await clock.pass(1000)
    expect(told).toMatchObject([
      { consumer: 'worker', channel: 'notes', offset: 0, id: 'n-1', attempt: 1, failure: { kind: 'crash' } },
    ])
    expect(told[0]?.error).toMatchObject({ name: told[0]?.failure.name, message: told[0]?.failure.message })
    expect(lines).toEqual([
      {
        level: 'error',
        message: 'workers died with an event, up to its last attempt: it is a dead letter',
        fields: expect.objectContaining({ consumer: 'worker', event: 'n-1', attempt: 1, attempts: 1, kind: 'crash' }),
      },
    ])
    expect(await running.stop()).toEqual({ completed: 0, retried: 0, deadLettered: 1, released: 0 })
    expect(await broker.deadLetters(worker).list()).toHaveLength(1)
  })

  test('a handler that passes its time limit, at once, and about what follows', async () => {
    const { lines, log } = recorded()
    const { broker, clock } = open({ log })
    const gate = new Gate()
    await broker.start(
      consumer('worker', notes, { timeout: '1s', retry: QUICK }).on(Noted, (_, ctx) =>
        ctx.attempt === 1 ? gate.opened : undefined,
      ),
    )
    await broker.publish(notes, Noted(1))
    await clock.pass(1000)
    expect(lines.map(({ message }) => message)).toEqual([
      'a handler has passed its time limit: the next attempt waits until it has ended',
    ])
    gate.open()
    await clock.pass(100)
    expect(lines.map(({ message }) => message).slice(1)).toEqual(['an attempt failed, and is tried again'])
  })

  test('a stall, and about its end', async () => {
    const { lines, log } = recorded()
    const { broker, clock } = open({ log })
    const gate = new Gate()
    await broker.start(consumer('worker', notes, { stall: '10s' }).on(Noted, () => gate.opened))
    await clock.pass(3_600_000)
    expect(lines).toEqual([])
    await broker.publish(notes, Noted(1))
    await clock.pass(9_000)
    expect(lines).toEqual([])
    await clock.pass(12_000)
    expect(lines[0]).toMatchObject({
      level: 'error',
      message: 'a consumer has work and makes no progress',
      fields: { consumer: 'worker' },
    })
    expect(lines[0]?.fields['reason']).toContain('none has finished')
    gate.open()
    await clock.pass(20_000)
    expect(lines.at(-1)).toMatchObject({ level: 'info', message: 'a consumer that was stalled makes progress again' })
    const told = lines.length
    await clock.pass(3_600_000)
    expect(lines).toHaveLength(told)
  })

  test('a blocked consumer, which has nothing in flight', async () => {
    const { lines, log } = recorded()
    const { broker, clock } = open({ log })
    await broker.start(
      consumer('worker', notes, { stall: '10s', onDead: 'block', concurrency: 1 }).on(Noted, (_, ctx) =>
        ctx.reject('no'),
      ),
    )
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(60_000)
    expect(lines.map(({ fields }) => fields['reason'] ?? null).at(-1)).toContain('onDead: block')
  })

  test('its own alarm', async () => {
    const { lines, log } = recorded()
    const { broker, clock } = open({
      log,
      onAlarm: ({ code, message }) => log.write('error', message, { alarm: code }),
    })
    const out = queue('out')
    await broker.declare(out)
    const gate = new Gate()
    await broker.start(
      consumer('worker', notes).on(Noted, (_, ctx) => void gate.opened.then(() => void ctx.emit(out, { type: 'x' }))),
    )
    await broker.publish(notes, Noted(1))
    await clock.pass(10)
    gate.open()
    await turns()
    expect(lines.map(({ fields }) => fields)).toEqual([{ alarm: 'CLOSED' }])
  })

  test('each call of ctx.log, with the event, the consumer and the attempt', async () => {
    const { lines, log } = recorded()
    const { broker, clock } = open({ log })
    await broker.start(
      consumer('worker', notes).on(Noted, (_, ctx) => {
        for (let n = 0; n < 3; n++) ctx.log.info('booked', { cents: n, attempt: 'not this one' })
        ctx.log.warn('slow')
        ctx.log.error('odd')
      }),
    )
    await broker.publish(notes, Noted(1, { id: 'n-1' }))
    await clock.pass(10)
    const bound = { consumer: 'worker', channel: 'notes', offset: 0, event: 'n-1', type: 'noted', attempt: 1 }
    expect(lines).toEqual([
      ...[0, 1, 2].map((cents) => ({ level: 'info', message: 'booked', fields: { cents, ...bound } })),
      { level: 'warn', message: 'slow', fields: bound },
      { level: 'error', message: 'odd', fields: bound },
    ])
  })
})

describe('lines that repeat', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test('are written once, and then counted and written every 10 s', () => {
    const { lines, log } = recorded()
    const fail = (n: number): void => log.repeated('warn', 'kind', () => ['failed', { n }])
    for (let n = 0; n < 1000; n++) fail(n)
    expect(lines).toEqual([{ level: 'warn', message: 'failed', fields: { n: 0 } }])
    vi.advanceTimersByTime(10_000)
    expect(lines.slice(1)).toEqual([{ level: 'warn', message: 'failed', fields: { n: 999, repeated: 999 } }])
    fail(1000)
    vi.advanceTimersByTime(10_000)
    expect(lines.slice(2)).toEqual([{ level: 'warn', message: 'failed', fields: { n: 1000 } }])
    vi.advanceTimersByTime(60_000)
    fail(1001)
    expect(lines).toHaveLength(4)
    expect(vi.getTimerCount()).toBe(1)
  })

  test('of many kinds are bounded, and their counts are written at the end', () => {
    const { lines, log } = recorded()
    for (let kind = 0; kind < 5000; kind++)
      for (let n = 0; n < 2; n++) log.repeated('warn', `kind ${kind}`, () => ['failed', { kind }])
    expect(lines).toHaveLength(201)
    log.close()
    expect(lines).toHaveLength(402)
    expect(lines.at(-1)?.fields['repeated']).toBe(9599)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('are not made if there is no logger', () => {
    new Log(null).repeated('warn', 'kind', () => expect.unreachable())
    expect(vi.getTimerCount()).toBe(0)
  })
})

test('failures that differ only in numbers are one kind: a thousand events make a few lines', async () => {
  const { lines, log } = recorded()
  const { broker, clock } = open({ log })
  await broker.start(
    consumer('worker', notes, { retry: { attempts: 1 } }).on(Noted, ({ data }) => {
      throw new Error(`row ${data} is locked`)
    }),
  )
  await broker.publish(
    notes,
    Array.from({ length: 1000 }, (_, n) => Noted(n)),
  )
  await clock.pass(100)
  expect(lines).toHaveLength(1)
  await broker.close()
  expect(lines.map(({ fields }) => fields['repeated'])).toEqual([undefined, 999])
})

describe('loggers', () => {
  const say = (logger: Logger | false | undefined, env = {}): void =>
    sinkOf(logger, env)?.('warn', 'it failed', { consumer: 'worker', attempt: 1 })

  test("one like pino's gets the fields and the message", () => {
    const calls: unknown[] = []
    const pino = {
      info: () => undefined,
      warn: (...args: unknown[]) => calls.push(args),
      error: () => undefined,
      child: () => undefined,
    }
    say(pino as Logger)
    expect(calls).toEqual([[{ consumer: 'worker', attempt: 1 }, 'it failed']])
  })

  test('one like the console gets a line', () => {
    const calls: unknown[] = []
    const plain = { info: () => undefined, warn: (...args: unknown[]) => calls.push(args), error: () => undefined }
    say(plain as Logger)
    expect(calls).toEqual([['millrace: it failed consumer=worker attempt=1']])
    say(console as Logger extends typeof console ? never : Logger, {}) // the console is a logger: this compiles
  })

  test('one that throws changes nothing', () => {
    const bad = (): never => {
      throw new Error('the log is full')
    }
    expect(() => say({ info: bad, warn: bad, error: bad })).not.toThrow()
  })

  test.each([[{}], [null], ['pino'], [{ info: () => undefined, warn: () => undefined }], [true]])(
    '%j is refused',
    (logger) => {
      expect(() => sinkOf(logger as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
    },
  )

  test.each([
    [{ NODE_ENV: 'test' }],
    [{ VITEST: 'true' }],
    [{ JEST_WORKER_ID: '1' }],
    [{ NODE_TEST_CONTEXT: 'child' }],
  ])('`false` and the environment %j write nothing', (env) => {
    expect(sinkOf(undefined, env)).toBeNull()
    expect(sinkOf(false)).toBeNull()
    expect(sinkOf(undefined, {})).not.toBeNull()
  })

  test('a value with line breaks stays on one line', () => {
    const loop: Record<string, unknown> = {}
    loop['loop'] = loop
    const line = lineOf('two\nlines\u001b[31m', {
      text: 'a "b"\n\u2028c',
      none: null,
      list: [1, 2],
      loop,
      ok: 'https://a.b/c',
      big: 5n,
    })
    expect(line).toBe(
      'millrace: two lines [31m text="a \\"b\\" c" list="[1,2]" loop=object ok=https://a.b/c big=bigint',
    )
  })
})

describe('connect', () => {
  const memory = connectWith({ memory: { open: async (_url, options) => openMemoryEngine(options) } })

  test('writes alarms to the logger, calls onAlarm, and continues when that throws', async () => {
    const lines: string[] = []
    const note = (line: unknown): void => void lines.push(String(line))
    const told: string[] = []
    let raise: ((code: string) => void) | undefined
    const broker = await connectWith({
      memory: {
        open: async (_url, options) => {
          raise = (code) => options.onAlarm?.({ code, message: 'the disk is full', sinceMs: 0 })
          options.notice?.('another owner', { pid: 1 })
          return openMemoryEngine(options)
        },
      },
    })('memory:', {
      logger: { info: note, warn: note, error: note },
      onAlarm: ({ code }) => {
        told.push(code)
        throw new Error('the pager is broken')
      },
    })
    raise?.('DISK_FULL')
    expect(told).toEqual(['DISK_FULL'])
    expect(lines).toEqual([
      'millrace: another owner pid=1',
      'millrace: the disk is full alarm=DISK_FULL',
      'millrace: onAlarm failed alarm=DISK_FULL error="Error: the pager is broken"',
    ])
    await broker.close()
  })

  test('refuses a value that is not a logger, and opens nothing', async () => {
    await expect(memory('memory:', { logger: { info: () => undefined } as never })).rejects.toThrow(
      /logger must have the methods/,
    )
  })
})

test('lines go to standard error by default', () => {
  const program = `
    import { connect, consumer, event, stream } from './src/index.ts'
    const E = event('t.e')
    const ch = stream('c', { events: [E] })
    const broker = await connect('memory:', process.argv[1] === 'silent' ? { logger: false } : {})
    const running = await broker.start(consumer('k', ch, { retry: { attempts: 1 } }).on(E, () => { throw new Error('no') }))
    await broker.publish(ch, E(1))
    while ((await broker.deadLetters('k').list()).length === 0) await new Promise((r) => setTimeout(r, 5))
    await broker.close()`
  const run = (...args: string[]): { stdout: string; stderr: string } => {
    const { VITEST: _, NODE_ENV: __, ...env } = process.env
    return spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program, ...args], {
      encoding: 'utf8',
      env,
      timeout: 60_000,
    })
  }
  const { stdout, stderr } = run()
  expect(stdout).toBe('')
  expect(stderr).toMatch(
    /^\d{4}-\S+Z ERROR millrace: the last attempt failed: an event is a dead letter consumer=k channel=c offset=0 event=\S+ type=t\.e attempt=1 attempts=1 error="Error: no" kind=error\n$/,
  )
  expect(run('silent')).toMatchObject({ stdout: '', stderr: '' })
})
