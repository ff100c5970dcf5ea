/** Hostile values for arguments, and what a call with them does. */
import { isMillraceError } from '../../src/base/errors.ts'

function thrower(): never {
  throw new RangeError('a hostile getter')
}

export const HOSTILE: readonly (readonly [name: string, make: () => unknown])[] = [
  ['undefined', () => undefined],
  ['null', () => null],
  ['true', () => true],
  ['0', () => 0],
  ['-1', () => -1],
  ['1.5', () => 1.5],
  ['NaN', () => Number.NaN],
  ['infinity', () => Number.POSITIVE_INFINITY],
  ['1e300', () => 1e300],
  ['a bigint', () => 1n],
  ['a symbol', () => Symbol('s')],
  ['an empty text', () => ''],
  ['a text of spaces', () => ' x y '],
  ['a text', () => 'text'],
  ['half a surrogate pair', () => '\ud800'],
  ['a name of an object', () => '__proto__'],
  ['a long text', () => 'x'.repeat(100_000)],
  ['a number as text', () => '5'],
  ['an empty array', () => []],
  ['an array of nothing', () => [undefined]],
  ['an array of null', () => [null]],
  ['a nested array', () => [[[]]]],
  ['an object', () => ({})],
  ['an object of an unknown member', () => ({ nonsense: 1 })],
  ['an object without a prototype', () => Object.create(null)],
  ['an object that has no text', () => ({ toString: thrower, valueOf: thrower, [Symbol.toPrimitive]: thrower })],
  ['an object of a name that is no text', () => ({ name: 5, type: 5 })],
  ['a cycle', cycle],
  ['a map', () => new Map([['a', 1]])],
  ['a promise', () => Promise.resolve({})],
  ['an invalid date', () => new Date(Number.NaN)],
  ['the last date', () => new Date(8.64e15)],
  ['a function', () => () => undefined],
  ['a function that throws', () => thrower],
  ['a class', () => class Odd {}],
  ['a regular expression', () => /x/],
  ['bytes', () => new Uint8Array(3)],
]

function cycle(): object {
  const one: Record<string, unknown> = {}
  one['o'] = one
  return one
}

export interface Call {
  /** Such as `publish(2 = a symbol)`. */
  readonly title: string
  readonly run: () => unknown
}

/** Valid arguments, and for option objects valid values of all options. */
export interface Sample {
  readonly name: string
  readonly call: (...args: never[]) => unknown
  readonly args: () => readonly unknown[]
  /** Indexes of the arguments that are option objects. */
  readonly bags?: readonly number[]
  /** Indexes of the arguments that are the user's own data, for which every value is valid. */
  readonly free?: readonly number[]
}

/** The calls of a sample in which one argument or one option is hostile. */
export function* callsOf({ name, call, args, bags = [], free = [] }: Sample): Generator<Call> {
  const run = (change: (given: unknown[]) => void) => (): unknown => {
    const given = [...args()]
    change(given)
    return call(...(given as never[]))
  }
  const count = args().length
  for (let at = 0; at < count; at++) {
    if (free.includes(at)) continue
    for (const [title, make] of HOSTILE)
      yield { title: `${name}(${at} = ${title})`, run: run((given) => void (given[at] = make())) }
  }
  for (const at of bags) {
    for (const option of Object.keys(args()[at] as object)) {
      for (const [title, make] of HOSTILE) {
        yield {
          title: `${name}({ ${option}: ${title} })`,
          run: run((given) => void (given[at] = { ...(given[at] as object), [option]: make() })),
        }
      }
      yield {
        title: `${name}({ get ${option}() })`,
        run: run((given) => void (given[at] = withThrower(given[at] as object, option))),
      }
    }
  }
}

function withThrower(options: object, option: string): object {
  return Object.defineProperty({ ...options }, option, { get: thrower, enumerable: true, configurable: true })
}

export type Answer =
  | { readonly kind: 'accepted'; readonly value: unknown }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'raw'; readonly message: string }

/** The outcome of a call. Whatever the call started is ended. */
export async function answerOf({ run }: Call): Promise<Answer> {
  try {
    const value = await run()
    await end(value)
    return { kind: 'accepted', value }
  } catch (error) {
    if (isMillraceError(error)) return { kind: 'refused', message: error.message }
    return {
      kind: 'raw',
      message:
        error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 4).join(' ') : String(error),
    }
  }
}

async function end(value: unknown): Promise<void> {
  if (typeof value !== 'object' || value === null) return
  if (Symbol.asyncIterator in value) {
    const events = (value as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    await events.next()
    await events.return?.()
  }
  for (const name of ['stop', 'close']) {
    const verb = (value as Readonly<Record<string, unknown>>)[name]
    if (typeof verb === 'function') await (verb as () => unknown).call(value)
  }
}
