/** The tables of recovery, over all their inputs, compared with the same rules written in another form. */
import { describe, expect, test } from 'vitest'
import type { FrameLocation } from '../../src/engines/embedded/storage/frame-codec.ts'
import {
  COMMIT_TABLE,
  type CommitFacts,
  chainOf,
  DIRECTORY_TABLE,
  type DirectoryFacts,
  decide,
  FILE_TABLE,
  type FileFacts,
} from '../../src/engines/embedded/storage/recovery.ts'

type Columns<Facts> = { readonly [Fact in keyof Facts]: readonly Facts[Fact][] }

/** Every combination of the columns' values. */
function combinations<Facts extends object>(columns: Columns<Facts>): Facts[] {
  let rows: Facts[] = [{} as Facts]
  for (const [name, values] of Object.entries(columns) as [string, readonly unknown[]][])
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value })))
  return rows
}

const directories = combinations<DirectoryFacts>({
  marker: ['none', 'broken', 'other-format', 'whole'],
  data: ['none', 'some'],
  strange: ['none', 'some'],
  index: ['none', 'broken', 'whole'],
})
const files = combinations<FileFacts>({
  listed: ['yes', 'no'],
  head: ['missing', 'whole', 'other-directory', 'damaged'],
  size: ['short', 'enough'],
  firstFrame: ['whole', 'not'],
})
const commits = combinations<CommitFacts>({
  found: ['nothing', 'head', 'whole', 'unlinked', 'two'],
  proven: ['yes', 'no'],
})

describe('the tables', () => {
  test.each([
    ['directory', DIRECTORY_TABLE, directories],
    ['file', FILE_TABLE, files],
    ['commit', COMMIT_TABLE, commits],
  ] as const)('of the %s have exactly one row for each input, and each row fits some input', (_, table, inputs) => {
    const reached = new Set<unknown>()
    for (const facts of inputs as unknown as readonly Record<string, string>[]) {
      const fitting = (table as unknown as readonly Record<string, string>[]).filter((row) =>
        Object.keys(facts).every((name) => row[name] === 'any' || row[name] === facts[name]),
      )
      expect([facts, fitting.length]).toEqual([facts, 1])
      reached.add(fitting[0])
    }
    expect(reached.size).toBe(table.length)
  })

  test('a directory counts as new only if it has nothing of Millrace, or nothing was ever committed in it', () => {
    for (const facts of directories) {
      const decision = decide(DIRECTORY_TABLE, facts)
      const empty =
        facts.marker === 'none' && facts.data === 'none' && facts.strange === 'none' && facts.index === 'none'
      expect([facts, decision === 'create']).toEqual([facts, empty])
      expect([facts, decision === 'new-index']).toEqual([facts, facts.marker === 'whole' && facts.data === 'none'])
      expect([facts, decision === 'open']).toEqual([
        facts,
        facts.marker === 'whole' && facts.data === 'some' && facts.index === 'whole',
      ])
    }
  })

  test('a journal file is used only if its content is known, and left out only if it had no content', () => {
    for (const facts of files) {
      const decision = decide(FILE_TABLE, facts)
      const used = facts.listed === 'yes' || facts.firstFrame === 'whole'
      const known =
        (used && facts.head === 'whole' && facts.size === 'enough') ||
        (facts.head === 'damaged' && facts.firstFrame === 'whole')
      expect([facts, decision.startsWith('use')]).toEqual([facts, known])
      if (decision === 'ignore')
        expect([facts, facts.listed, facts.head === 'missing' || facts.firstFrame === 'not']).toEqual([
          facts,
          'no',
          true,
        ])
    }
  })

  test('the journal ends only where nothing shows that it continued', () => {
    for (const facts of commits) {
      const decision = decide(COMMIT_TABLE, facts)
      expect([facts, decision === 'end']).toEqual([
        facts,
        facts.proven === 'no' && (facts.found === 'nothing' || facts.found === 'head'),
      ])
      expect([facts, decision === 'take']).toEqual([facts, facts.found === 'whole'])
    }
  })
})

describe('the chain of commits', () => {
  /** The possible states of each of the commits 3 to 6, with an index that has applied commit 2. */
  const STATES = ['nothing', 'head', 'whole', 'unlinked', 'end', 'whole twice', 'two'] as const
  const FIRST = 3
  const LAST = 6
  const check = (sequence: number): number => 1000 + sequence

  function locationsOf(states: readonly (typeof STATES)[number][]): FrameLocation[] {
    return states.flatMap((state, index) => {
      const sequence = FIRST + index
      const whole: FrameLocation = {
        sequence,
        link: check(sequence - 1),
        check: check(sequence),
        at: 0,
        end: 1,
        state: 'whole',
      }
      switch (state) {
        case 'nothing':
          return []
        case 'head':
          return [{ ...whole, state: 'head' as const }]
        case 'whole':
          return [whole]
        case 'unlinked':
          return [{ ...whole, link: 7 }]
        case 'end':
          return [{ ...whole, state: 'end' as const }]
        case 'whole twice':
          return [whole, { ...whole }]
        case 'two':
          return [whole, { ...whole, check: 8 }]
        default:
          return state satisfies never
      }
    })
  }

  const worlds = combinations({ a: STATES, b: STATES, c: STATES, d: STATES })

  test(`is read up to the end that nothing contradicts, or refused, in all ${worlds.length} worlds of four commits`, () => {
    for (const { a, b, c, d } of worlds) {
      const states = [a, b, c, d]
      const whole = (sequence: number): boolean => states[sequence - FIRST]?.startsWith('whole') ?? false
      // The last commit that was provably acknowledged: a later one was begun, or an end mark names it.
      let acknowledged = FIRST - 1
      states.forEach((state, index) => {
        if (state === 'end') acknowledged = FIRST + index
        else if (state !== 'nothing') acknowledged = Math.max(acknowledged, FIRST + index - 1)
      })
      let last = FIRST - 1
      while (whole(last + 1)) last++
      const strange = last < LAST && ['unlinked', 'two'].includes(states[last + 1 - FIRST] as string)
      const chain = chainOf({ sequence: FIRST - 1, check: check(FIRST - 1) }, locationsOf(states))
      expect([states, chain.taken.map((place) => place.sequence)]).toEqual([
        states,
        Array.from({ length: last - FIRST + 1 }, (_, index) => FIRST + index),
      ])
      expect([states, chain.ended === 'end']).toEqual([states, !strange && last >= acknowledged])
    }
  })

  test('does not continue an index that is behind the files, or of another time', () => {
    const places = locationsOf(['whole', 'whole', 'whole', 'whole'])
    expect(chainOf({ sequence: 0, check: 0 }, places).ended).toBe('damaged')
    expect(chainOf({ sequence: 2, check: 5 }, places).ended).toBe('other-history')
    expect(chainOf({ sequence: 6, check: check(6) }, places)).toMatchObject({ ended: 'end', taken: [] })
    expect(chainOf({ sequence: 9, check: 5 }, places)).toMatchObject({ ended: 'end', taken: [] })
  })
})
