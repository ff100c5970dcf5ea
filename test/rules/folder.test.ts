/** A watched folder of rules: people edit it, with mistakes, while events are published. */
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Broker, MillraceError, stream } from '../../src/index.ts'
import { parseRuleFile, type RunningRules, startRules } from '../../src/rules/index.ts'
import { brokersOf, eventually, published } from './support.ts'

let folder: string
let brokers: Broker[]
let problems: string[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-folder-'))
  problems = []
  brokers = brokersOf(2)
  await brokers[0]?.declare(stream('carts'), stream('alerts'))
})
afterEach(async () => {
  await Promise.all(brokers.map((broker) => broker.close()))
  await rm(folder, { recursive: true, force: true })
})

const start = (at = 0): Promise<RunningRules> =>
  startRules(brokers[at] as Broker, {
    folder: { path: folder, label: 'rules' },
    onProblem: (error) => problems.push(error.message),
  })
const file = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text)
const yaml = (name: string, type: string): string =>
  `name: ${name}\non: carts\nthen:\n  - emit: { channel: alerts, type: ${type}, data: '{{ data.n }}' }\n`
const types = async (rules: RunningRules): Promise<Record<string, unknown>> =>
  Object.fromEntries(
    (await rules.list()).map(({ name, definition }) => [
      name,
      (definition.then as { emit?: { type: string } }[])[0]?.emit?.type ?? definition.then,
    ]),
  )

describe('a watched folder', () => {
  it('is applied at the start, and added, changed and removed files within a second', async () => {
    await file('a.yaml', yaml('a', 'one'))
    await file('list.json', JSON.stringify([{ name: 'b', on: 'carts', then: 'drop', enabled: false }]))
    await file('notes.txt', 'not a rule')
    await file('.hidden.yaml', 'not: a rule')
    const rules = await start()
    expect(await types(rules)).toEqual({ a: 'one', b: 'drop' })
    expect(await rules.get('b')).toMatchObject({ enabled: false, file: 'rules/list.json', author: 'folder' })
    await file('c.yml', `${yaml('c', 'three')}---\n${yaml('d', 'four')}`)
    await file('.a.tmp', yaml('a', 'two'))
    await rename(join(folder, '.a.tmp'), join(folder, 'a.yaml'))
    await rm(join(folder, 'list.json'))
    await eventually(async () => expect(await types(rules)).toEqual({ a: 'two', c: 'three', d: 'four' }))
    // A rule that the file no longer contains is removed.
    await file('c.yml', yaml('d', 'four'))
    await eventually(async () => expect(await types(rules)).toEqual({ a: 'two', d: 'four' }))
    await brokers[1]?.publish('carts', { type: 'x', data: { n: 7 } })
    expect((await published(brokers[0] as Broker, 'alerts', 2)).map(({ type, data }) => [type, data])).toEqual([
      ['two', 7],
      ['four', 7],
    ])
    expect(problems).toEqual([])
  })

  it('applies a file as soon as the channels of its rules exist, and reports once that it is refused until then', async () => {
    await file('a.yaml', yaml('a', 'one').replace('on: carts', 'on: later'))
    const first = await start()
    expect((await first.refused()).map(({ path }) => path)).toEqual(['a.yaml'])
    await first.stop()
    const rules = await start(1)
    await rules.rescan()
    await brokers[1]?.declare(stream('later'))
    await eventually(async () => expect(await types(rules)).toEqual({ a: 'one' }))
    expect(await rules.refused()).toEqual([])
    expect(problems).toHaveLength(1)
  })

  it('leaves the old rule in force if a file is malformed, reports why, and applies the file when it is corrected', async () => {
    await file('a.yaml', yaml('a', 'one'))
    const rules = await start()
    await file('a.yaml', 'name: a\non: carts\nthen: [emit: {channel: alerts')
    await eventually(() => expect(problems).toHaveLength(1))
    expect(problems[0]).toMatch(/a\.yaml: it is not YAML: .* line 3/)
    expect(await types(rules)).toEqual({ a: 'one' })
    expect(await rules.refused()).toMatchObject([
      { folder: 'rules', path: 'a.yaml', kept: ['a'], reason: expect.stringContaining('not YAML') },
    ])
    await file('a.yaml', yaml('a', 'one').replace('emit:', 'emitt:'))
    await eventually(() => expect(problems).toHaveLength(2))
    expect(problems[1]).toContain('a.yaml: the rule is malformed at "then[0]"')
    // The file has its earlier content, so it is correct again.
    await file('a.yaml', yaml('a', 'one'))
    await eventually(async () => expect(await rules.refused()).toEqual([]))
    await file('a.yaml', yaml('a', 'two'))
    await eventually(async () => expect(await types(rules)).toEqual({ a: 'two' }))
  })

  it('refuses a file that names a channel that does not exist', async () => {
    await file('a.yaml', yaml('a', 'one').replace('alerts', 'nowhere'))
    const rules = await start()
    expect(problems[0]).toContain('"nowhere", which is not declared')
    expect(await rules.list()).toEqual([])
  })

  it('keeps changes that are made in another way, until the file is edited', async () => {
    await file('a.yaml', yaml('a', 'one'))
    await file('b.yaml', yaml('b', 'one'))
    const rules = await start()
    await rules.disable('a', { author: 'ann' })
    await rules.remove('b')
    await rules.stop()
    // Neither a restart nor another process with the same folder undoes the change.
    const again = await start(1)
    expect((await again.list()).map(({ name, enabled }) => [name, enabled])).toEqual([['a', false]])
    await file('b.yaml', yaml('b', 'two'))
    await file('a.yaml', yaml('a', 'two'))
    await eventually(async () => expect(await types(again)).toEqual({ a: 'two', b: 'two' }))
    // A file that does not say `enabled` does not change whether the rule is enabled.
    expect(await again.get('a')).toMatchObject({ enabled: false })
    await file('a.yaml', `${yaml('a', 'two')}enabled: true\n`)
    await eventually(async () => expect(await again.get('a')).toMatchObject({ enabled: true }))
    // The rule is removed with its file. If the file comes back, so does the rule.
    await rm(join(folder, 'b.yaml'))
    await eventually(async () => expect(await types(again)).toEqual({ a: 'two' }))
    await file('b.yaml', yaml('b', 'two'))
    await eventually(async () => expect(await types(again)).toEqual({ a: 'two', b: 'two' }))
  })

  it('is watched by several processes that do not undo each other’s changes', async () => {
    const [one, two] = await Promise.all([start(0), start(1)])
    await file('a.yaml', yaml('a', 'one'))
    await eventually(async () => {
      await Promise.all([one.rescan(), two.rescan()])
      expect(await types(two)).toEqual({ a: 'one' })
    })
    await Promise.all([one.rescan(), two.rescan()])
    expect(await one.get('a')).toMatchObject({ revision: 1 })
  })

  it('removes at the start the rules of files that were removed while no process watched', async () => {
    await file('a.yaml', yaml('a', 'one'))
    const rules = await start()
    await rules.put({ name: 'other', on: 'carts', then: 'drop' })
    await rules.stop()
    await rm(join(folder, 'a.yaml'))
    expect(await types(await start(1))).toEqual({ other: 'drop' })
  })

  it('refuses a rule that is in two files', async () => {
    await file('a.yaml', yaml('a', 'one'))
    await file('b.yaml', yaml('a', 'two'))
    await file('c.yaml', `${yaml('c', 'one')}---\n${yaml('c', 'two')}`)
    const rules = await start()
    expect(await types(rules)).toEqual({ a: 'one' })
    expect(problems).toEqual(['b.yaml: rule "a" is in a.yaml already', 'c.yaml: rule "c" is in the file twice'])
  })

  it('tries again to apply a file and to remove a rule after the broker failed', async () => {
    const rules = await start()
    const away = vi
      .spyOn(brokers[0] as Broker, 'publish')
      .mockRejectedValue(new MillraceError('UNAVAILABLE', 'the servers are away'))
    await file('a.yaml', yaml('a', 'one'))
    await eventually(() => expect(problems).toContain('the servers are away'))
    away.mockRestore()
    await eventually(async () => expect(await types(rules)).toEqual({ a: 'one' }))
    expect(await rules.refused()).toEqual([])
    problems = []
    const again = vi
      .spyOn(brokers[0] as Broker, 'publish')
      .mockRejectedValue(new MillraceError('UNAVAILABLE', 'the servers are away'))
    await rm(join(folder, 'a.yaml'))
    await eventually(() => expect(problems).toContain('the servers are away'))
    again.mockRestore()
    await eventually(async () => expect(await types(rules)).toEqual({}))
  })

  it('must exist', async () => {
    await mkdir(join(folder, 'x.yaml'))
    await start()
    folder = join(folder, 'nowhere')
    await expect(start(1)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })
})

describe('a file of rules', () => {
  it.each([
    ['a.json', '{', 'not JSON'],
    ['a.yaml', '', 'no rule in it'],
    [
      'a.yaml',
      'a: &x [1]\nb: &y [*x,*x,*x,*x,*x,*x]\nc: &z [*y,*y,*y,*y,*y]\nd: [*z,*z,*z]',
      'cannot be read|that can be read',
    ],
    ['a.yaml', 'name: a\nname: b', 'unique'],
    ['a.yaml', '- name: a\n  on: carts\n  then: drop\n- 7', 'rule 2'],
  ])('%s with the text %j… is refused', (name, text, reason) => {
    expect(() => parseRuleFile(text, name)).toThrow(new RegExp(reason))
  })

  it('is refused if it is too large', () => {
    expect(() =>
      parseRuleFile(`name: a\non: carts\nthen: drop\ndescription: "${'x'.repeat(1_100_000)}"`, 'a.yaml'),
    ).toThrow('more than')
  })

  it('keeps the values of YAML and JSON', () => {
    const text = 'name: a\non: [carts]\nwhen: { data: { n: [1, true, null, "1"] } }\nthen: drop\n'
    expect(parseRuleFile(text, 'a.yaml')).toEqual([
      { name: 'a', on: ['carts'], when: { data: { n: [1, true, null, '1'] } }, then: 'drop' },
    ])
    expect(parseRuleFile(JSON.stringify(parseRuleFile(text, 'a.yaml')[0]), 'a.json')).toEqual(
      parseRuleFile(text, 'a.yaml'),
    )
  })
})
