/**
 * docs/guide/monitoring.md: its rules are PromQL, their metrics and labels are those of a real gateway, and promtool
 * agrees where it is installed.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parser } from '@prometheus-io/lezer-promql'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'

const run = promisify(execFile)
const page = readFileSync(fileURLToPath(new URL('../../docs/guide/monitoring.md', import.meta.url)), 'utf8')
const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, block]) => block as string)
const block = (start: string): string => blocks.find((each) => each.startsWith(start)) ?? expect.fail(start)

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}
const rules = (parseYaml(block('groups:')) as { groups: { name: string; rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
)

let broker: Broker
let server: ServingGateway
/** The labels of each metric, as a scrape has them. */
const served = new Map<string, Set<string>>()

beforeAll(async () => {
  broker = await connect('memory:', { logger: false, onAlarm: () => undefined })
  server = await serveGateway(broker, { port: 0, drain: '100ms' })
  const scrape = async (): Promise<string> => (await fetch(`${server.url}/metrics`)).text()
  await scrape()
  const orders = stream('orders')
  const retry = { attempts: 1 } as const
  await broker.start(
    consumer('billing', orders, { retry, timeout: '10ms' }).onAny(
      () => new Promise((resolve) => setTimeout(resolve, 50)),
    ),
  )
  await broker.start(consumer('shipping', orders).onAny(() => undefined))
  await broker.publish(orders, [{ type: 'order.placed' }, { type: 'order.placed' }])
  await broker.publish(orders, { type: 'order.placed', data: 10n }).catch(() => undefined)
  const expected = ['millrace_consumer_dead_lettered_total', 'millrace_consumer_latency_seconds_bucket', 'error_type="']
  for (let text = ''; !expected.every((each) => text.includes(each)); text = await scrape())
    await new Promise((resolve) => setTimeout(resolve, 20))
  for (const [, name = '', labels = ''] of (await scrape()).matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const known = served.get(name) ?? new Set()
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label)
    served.set(name, known)
  }
})
afterAll(async () => {
  await server.close()
  await broker.close()
})

interface Used {
  readonly errors: string[]
  readonly metrics: string[]
  readonly labels: string[]
}

/** What a PromQL expression names, by Prometheus' own grammar. */
function used(expr: string): Used {
  const found: Used = { errors: [], metrics: [], labels: [] }
  parser.parse(expr).iterate({
    enter: ({ type, name, from, to, node }) => {
      const text = expr.slice(from, to)
      if (type.isError) found.errors.push(`at ${from}: ${expr.slice(Math.max(0, from - 10), to + 10)}`)
      if (name === 'Identifier' && node.parent?.name === 'VectorSelector') found.metrics.push(text)
      if (name === 'LabelName') found.labels.push(text)
    },
  })
  return found
}

describe('the alerts of the monitoring guide', () => {
  test.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s is PromQL over metrics that are served',
    (_, rule) => {
      expect(used(rule.expr).errors).toEqual([])
      const { metrics, labels } = used(rule.expr)
      expect(metrics.length).toBeGreaterThan(0)
      const known = new Set(metrics.flatMap((metric) => [...(served.get(metric) ?? [])]))
      // Prometheus makes `up`, and the alarm's code is there only while an alarm lasts.
      const own = new Set(['up', 'job', 'millrace_alarms', 'code'])
      expect(metrics.filter((metric) => !served.has(metric) && !own.has(metric))).toEqual([])
      expect(labels.filter((label) => !known.has(label) && !own.has(label))).toEqual([])
      expect(rule.for ?? '0m').toMatch(/^\d+[smhd]$/)
      for (const [, label = ''] of JSON.stringify(rule.annotations ?? {}).matchAll(/\$labels\.(\w+)/g))
        expect(labels, `${rule.alert}: ${label}`).toContain(label)
    },
  )

  test('each has a name of its own, and says what to do', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
    expect(rules.filter(({ annotations }) => annotations?.['summary'] === undefined)).toEqual([])
  })

  test('the check finds what is wrong', () => {
    expect(used('max by (channel (millrace_consumer_lag)').errors).not.toEqual([])
    expect(used('rate(a_total{b="c"}[5m]) > 0')).toEqual({ errors: [], metrics: ['a_total'], labels: ['b'] })
    expect(served.has('millrace_consumer_lag_seconds')).toBe(false)
  })

  test('promtool accepts them, and each fires and does not fire as it says', async (context) => {
    const installed = await run('promtool', ['--version']).then(
      () => true,
      () => false,
    )
    if (!installed && process.env['CI'] === 'true') expect.fail('promtool is missing: .ci/run installs it')
    if (!installed) return context.skip('promtool is not installed (Debian: prometheus)')
    const folder = mkdtempSync(join(tmpdir(), 'millrace-promtool-'))
    try {
      writeFileSync(join(folder, 'alerts.yml'), block('groups:'))
      writeFileSync(join(folder, 'prometheus.yml'), block('scrape_configs:'))
      const tests = readFileSync(fileURLToPath(new URL('./alerts.promtool.yml', import.meta.url)), 'utf8')
      writeFileSync(join(folder, 'tests.yml'), tests)
      await run('promtool', ['check', 'rules', 'alerts.yml'], { cwd: folder })
      await run('promtool', ['check', 'config', '--syntax-only', 'prometheus.yml'], { cwd: folder })
      await run('promtool', ['test', 'rules', 'tests.yml'], { cwd: folder })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('the configuration of the monitoring guide', () => {
  test('scrapes the path that the gateway serves', async () => {
    const { scrape_configs: jobs } = parseYaml(block('scrape_configs:')) as {
      scrape_configs: { metrics_path?: string; static_configs: { targets: string[] }[] }[]
    }
    for (const { metrics_path: path = '/metrics' } of jobs)
      expect((await fetch(server.url + path.replace(/^\/events/, ''))).status).toBe(200)
  })
})
