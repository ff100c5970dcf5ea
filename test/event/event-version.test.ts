import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { StoredEvent } from '../../src/event/cloud-event.ts'
import { event } from '../../src/event/event.ts'
import { inNewest, newestText, publishedSchema, versionOf } from '../../src/event/event-version.ts'

const First = event('paid', z.object({ euros: z.number() }))
const Paid = First.nextVersion(2, z.object({ cents: z.int() }), ({ euros }) => ({ cents: euros * 100 })).nextVersion(
  3,
  z.object({ cents: z.int(), currency: z.string().default('EUR') }),
  (data) => data,
)

function stored(data: unknown, attributes: object = {}): StoredEvent {
  return { specversion: '1.0', id: '1', source: '/', type: 'paid', data, offset: 0, ...attributes } as StoredEvent
}

const trap = (): never => {
  throw new Error('trap')
}
const hostile = (): object => new Proxy({}, { get: trap, has: trap, getPrototypeOf: trap, ownKeys: trap })

const read = (given: StoredEvent, definition: Parameters<typeof inNewest>[0] = Paid): unknown =>
  inNewest(definition, given, given, 'handled')

describe('the version of an event', () => {
  it.each([
    [{}, 1],
    [{ dataversion: 2 }, 2],
    [{ dataversion: '17' }, 17],
    [{ extensions: { dataversion: 3 } }, 3],
    [{ dataversion: '1.0' }, 1],
    [{ dataversion: 'two' }, 1],
    [{ dataversion: 0 }, 1],
    [{ dataversion: -4 }, 1],
    [{ dataversion: true }, 1],
    [{ dataversion: '99999999999' }, 1],
    [{ dataversion: '9999999999' }, 1],
  ])('of %j is %i', (attributes, version) => {
    expect(versionOf(attributes)).toBe(version)
  })

  it('is in the events that a definition makes, except for version 1', () => {
    expect(First({ euros: 1 })).not.toHaveProperty('dataversion')
    expect(Paid({ cents: 1 }).dataversion).toBe(3)
    expect(event('paid', z.any(), { version: 2 })(1).dataversion).toBe(2)
  })

  it('must be one more than the version before', () => {
    expect(() => First.nextVersion(3, z.any(), (data) => data)).toThrow(/version after 1 of event "paid" is 2/)
    expect(() => First.nextVersion(2, {} as StandardSchemaV1, (data) => data)).toThrow(/not a Standard Schema/)
    expect(() => First.nextVersion(2, z.any(), undefined as never)).toThrow(/needs a function/)
    expect(() => event('paid', z.any(), { version: 0 })).toThrow(/version/)
  })
})

describe('an event of an earlier version', () => {
  it.each<[string, () => unknown]>([
    ['throws undefined', () => { throw undefined }], // biome-ignore format: a line each
    ['throws a proxy whose traps throw', () => { throw hostile() }], // biome-ignore format: a line each
    ['returns a promise that rejects', () => Promise.reject(new Error('unseen'))],
    ['returns a thenable', () => Object.defineProperty({}, 'then', { value: () => undefined })],
    ['returns an object whose then throws', () => Object.defineProperty({}, 'then', { get: trap })],
    ['returns a proxy whose traps throw', hostile],
    ['returns nothing', () => undefined],
    ['calls itself without end', function again(): unknown { return [again()] }], // biome-ignore format: a line each
  ])('has failed with a typed error when its upcast %s', (_, upcast) => {
    const Odd = First.nextVersion(2, z.object({ cents: z.int() }), upcast as never)
    expect(() => read(stored({ euros: 1 }), Odd)).toThrow(expect.objectContaining({ code: 'UPCAST_FAILED' }))
  })

  it('is changed version by version, and decoded by the newest schema', () => {
    const given = stored({ euros: 2.5 })
    expect(read(given)).toMatchObject({ data: { cents: 250, currency: 'EUR' }, dataversion: 3 })
    expect(JSON.parse(newestText(given, { text: '' })).data).toEqual({ cents: 250 })
    expect(read(stored({ cents: 5 }, { dataversion: '2' }))).toMatchObject({ data: { cents: 5, currency: 'EUR' } })
  })

  it('keeps its own text when it is in the newest version', () => {
    const given = stored({ cents: 5 }, { dataversion: 3 })
    read(given)
    expect(newestText(given, { text: 'as it is stored' })).toBe('as it is stored')
  })

  it('must satisfy the schema of its own version', () => {
    expect(() => read(stored({ cents: 5 }))).toThrow(expect.objectContaining({ code: 'SCHEMA_MISMATCH' }))
  })

  it('fails when an upcast throws, returns a promise, or makes data that the next schema refuses', () => {
    const failing = (upcast: () => unknown): unknown =>
      read(stored({ euros: 1 }), First.nextVersion(2, z.object({ cents: z.int() }), upcast as never))
    const failure = (message: RegExp): unknown =>
      expect.objectContaining({ code: 'UPCAST_FAILED', message: expect.stringMatching(message) })
    const thrower = (): never => {
      throw new Error('no rate')
    }
    expect(() => failing(thrower)).toThrow(failure(/from version 1 to 2 threw: no rate/))
    expect(() => failing(() => Promise.reject(new Error('late')))).toThrow(failure(/promise/))
    expect(() => failing(() => ({ cents: 1.5 }))).toThrow(failure(/refuses/))
  })

  it('is a dead letter when its version is older than the definition, and waits when it is newer', () => {
    const narrow = event('paid', z.any(), { version: 2 })
    const unknown = (details: object): unknown =>
      expect.objectContaining({ code: 'UNKNOWN_VERSION', details: expect.objectContaining(details) })
    expect(() => read(stored(1), narrow)).toThrow(unknown({ version: 1, handled: true }))
    expect(() => read(stored(1, { dataversion: 3 }), narrow)).toThrow(unknown({ version: 3, newest: 2, waits: true }))
  })

  it('is decoded by asynchronous schemas, too', async () => {
    const slow = (schema: z.ZodType): StandardSchemaV1 => ({
      '~standard': { version: 1, vendor: 'slow', validate: async (data) => schema['~standard'].validate(data) },
    })
    const Slow = event('paid', slow(z.object({ euros: z.number() }))).nextVersion(
      2,
      slow(z.object({ cents: z.int() })),
      (data) => ({ cents: (data as { euros: number }).euros * 100 }),
    )
    await expect(read(stored({ euros: 1 }), Slow)).resolves.toMatchObject({ data: { cents: 100 }, dataversion: 2 })
    await expect(read(stored({ euros: 0.001 }), Slow)).rejects.toMatchObject({ code: 'UPCAST_FAILED' })
  })
})

describe('an event that is published', () => {
  it('is validated by the schema of the version that it says', () => {
    expect(publishedSchema(Paid, { type: 'paid' })).toBe(First.schema)
    expect(publishedSchema(Paid, { type: 'paid', dataversion: 3 })).toBe(Paid.schema)
    expect(() => publishedSchema(Paid, { type: 'paid', dataversion: 4 })).toThrow(/versions up to 3/)
    expect(() => publishedSchema(event('paid', z.any(), { version: 2 }), { type: 'paid' })).toThrow(/dataversion: 2/)
  })
})
