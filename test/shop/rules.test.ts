/** The example's rules over all recorded webhooks, edited while they run. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { alerts, github } from '../../examples/shop/github/events.ts'
import { recordedWebhooks } from '../../examples/shop/github/recorded.ts'
import { type Broker, connect, type UntypedEvent } from '../../src/index.ts'
import { parseRuleFile, type RuleDefinition, type RunningRules, startRules } from '../../src/rules/index.ts'
import { eventually, offsetsOf, published } from '../rules/support.ts'

let folder: string
let broker: Broker
let rules: RunningRules
const webhooks = recordedWebhooks()
const problems: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-shop-rules-'))
  await cp(join(import.meta.dirname, '../../examples/shop/rules'), folder, { recursive: true })
  broker = await connect('memory:')
  await broker.declare(github, alerts)
  rules = await startRules(broker, { folder, onProblem: (error) => problems.push(error.message) })
})
afterAll(async () => {
  await broker.close()
  await rm(folder, { recursive: true, force: true })
})

const count = (type: string, test: (event: UntypedEvent) => boolean = () => true): number =>
  webhooks.filter(
    (event) =>
      event.type === `com.github.${type}` &&
      (event.data as { sender?: { type?: string } }).sender?.type !== 'Bot' &&
      test(event),
  ).length

test('each file is taken up', async () => {
  const files = (await readdir(folder)).filter((name) => name !== 'README.md')
  const all: RuleDefinition[] = []
  for (const name of files) all.push(...parseRuleFile(await readFile(join(folder, name), 'utf8'), name))
  expect(problems).toEqual([])
  expect((await rules.list()).map(({ name }) => name)).toEqual(all.map(({ name }) => name).sort())
  expect(files.length).toBeGreaterThan(5)
})

test('they find what they are for in the webhooks, and nothing of machines', async () => {
  for (const webhook of webhooks) await broker.publish(github, webhook)
  await eventually(async () => expect(await offsetsOf(broker, 'rules.github', 'github')).toBe(webhooks.length))
  const found = await published(broker, 'alerts', 1)
  const of = (type: string) => found.filter((event) => event.type === type)
  expect(of('alert.star')).toHaveLength(count('star.created') + count('watch.started'))
  expect(of('alert.bug')).toHaveLength(count('issues.opened') + count('issues.reopened'))
  expect(of('alert.bug')[0]?.data).toMatchObject({ by: 'Codertocat', labels: ['bug'] })
  expect(of('alert.security').length).toBeGreaterThan(count('repository_vulnerability_alert.create'))
  expect(of('alert.build').length).toBeGreaterThan(0)
  expect(await published(broker, 'releases', 1)).toHaveLength(
    count('release.published', ({ data }) => !(data as { release: { prerelease: boolean } }).release.prerelease),
  )
  for (const event of found) expect(event.causationid).toMatch(/^recorded-/)
  const sent = new Map(webhooks.map((event) => [event.id, event]))
  expect(
    found.some(
      ({ causationid = '' }) => (sent.get(causationid)?.data as { sender?: { type?: string } })?.sender?.type === 'Bot',
    ),
  ).toBe(false)
})

test('an edit is in force while they run, a mistake is told', async () => {
  const path = join(folder, 'bugs.yaml')
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace('type: alert.star', 'type: alert.love'))
  await eventually(async () =>
    expect(JSON.stringify((await rules.get('github-stars')).definition)).toContain('alert.love'),
  )
  const star = webhooks.find(({ type }) => type === 'com.github.star.created') as UntypedEvent
  await broker.publish(github, { ...star, id: 'again' })
  await eventually(async () =>
    expect((await published(broker, 'alerts', 1)).map(({ type }) => type)).toContain('alert.love'),
  )
  await writeFile(path, text.replace('when: type IN', 'when: type WITHIN'))
  // A look while the file is being written may find it empty, which is a problem of its own.
  await eventually(() => expect(problems.length).toBeGreaterThan(0))
  await eventually(() =>
    expect(problems.at(-1)).toContain(
      'bugs.yaml: rule 2: the rule is malformed at "when": the expression does not parse',
    ),
  )
  expect(JSON.stringify((await rules.get('github-stars')).definition)).toContain('alert.love')
})
