/**
 * A small shop and a feed of GitHub webhooks, on one broker and one port, in one process.
 *
 * This file does not know what the consumers do: it starts them, and stops them in order.
 */
import { type Broker, connect, isMillraceError, type Running, type RunSummary } from 'millrace'
import { type ServingGateway, serveGateway } from 'millrace/gateway'
import { type RunningRules, startRules } from 'millrace/rules'
import { startFulfilment } from './consumers/fulfilment.ts'
import { startInventory } from './consumers/inventory.ts'
import { startMail } from './consumers/mail.ts'
import { startPricing } from './consumers/pricing.ts'
import { carts, deliveries, letters, mail, orders, prices, stock } from './events.ts'
import { startActivity } from './github/activity.ts'
import { activity, alerts, github } from './github/events.ts'
import { type Feeder, startFeeder } from './github/feeder.ts'
import { openOutbox } from './mail-provider.ts'
import { type ShopOptions, shopOptions, USAGE } from './options.ts'
import { site } from './site.ts'

interface Shop {
  readonly broker: Broker
  readonly gateway: ServingGateway
  readonly running: readonly Running[]
  readonly rules: RunningRules | null
  readonly feeder: Feeder | null
  /** The number of events of each channel when the shop started. */
  readonly before: ReadonlyMap<string, number>
}

async function open(options: ShopOptions): Promise<Shop> {
  const broker = await connect(options.brokerUrl)
  await broker.declare(carts, deliveries, stock, prices, orders, mail, letters, github, activity, alerts)
  const before = await eventCounts(broker)
  const provider = await openOutbox(options.outbox)
  const running = await Promise.all([
    startInventory(broker),
    startPricing(broker),
    startFulfilment(broker),
    startMail(broker, provider),
    startActivity(broker),
  ])
  const rules =
    options.rules === null ? null : await startRules(broker, { folder: { path: options.rules, label: 'shop' } })
  const gateway = await serveGateway(broker, { port: options.port, console: true, fallback: site() })
  const feeder = options.githubPaceMs === null ? null : await startFeeder(broker, options.githubPaceMs)
  return { broker, gateway, running, rules, feeder, before }
}

async function eventCounts(broker: Broker): Promise<Map<string, number>> {
  return new Map((await broker.describe()).channels.map(({ name, next }) => [name, next]))
}

function greet({ gateway, feeder, before }: Shop, options: ShopOptions): void {
  const kept = [...before.values()].reduce((sum, count) => sum + count, 0)
  console.log(`
  The Mill Shop is open.

    the shop      ${gateway.url}/
    GitHub        ${gateway.url}/github
    the console   ${gateway.url}/console/

  Rules: ${options.rules === null ? 'none' : `${options.rules} (edit them while it runs)`}.
  Broker: ${options.brokerUrl}, ${kept === 0 ? 'new and empty' : `with ${kept} events from before`}.`)
  if (feeder !== null) {
    const left = feeder.total - feeder.resumedAt
    const place =
      feeder.resumedAt === 0
        ? `${left} recorded webhooks to replay`
        : left === 0
          ? `all ${feeder.total} recorded webhooks are in`
          : `resuming at webhook ${feeder.resumedAt + 1} of ${feeder.total}`
    console.log(`  GitHub: ${place}.`)
  }
  console.log('  Ctrl-C drains and stops; start again and everything is as it was.\n')
}

/** Close in order: stop new input, finish running work, then close the broker. */
async function close({ broker, gateway, running, rules, feeder, before }: Shop): Promise<void> {
  console.log('\n  Closing: finishing what is in hand …')
  const fed = await feeder?.stop()
  await gateway.close()
  await rules?.stop()
  const summaries = await Promise.all(
    running.map(async (one): Promise<[string, RunSummary]> => [one.name, await one.stop()]),
  )
  const after = await eventCounts(broker)
  const dead = new Map((await broker.describe()).consumers.map(({ name, deadLetters }) => [name, deadLetters]))
  await broker.close()
  console.log(report(before, after, summaries, dead, fed))
}

function report(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  summaries: readonly [string, RunSummary][],
  dead: ReadonlyMap<string, number>,
  fed: number | undefined,
): string {
  const published = [...after].map(([name, next]): [string, number] => [name, next - (before.get(name) ?? 0)])
  const total = published.reduce((sum, [, count]) => sum + count, 0)
  const channels = published.flatMap(([name, count]) => (count === 0 ? [] : `${name} ${count}`)).join(' · ')
  const rows = summaries.map(([name, done]) =>
    [name, done.completed, done.retried, done.deadLettered, dead.get(name) ?? 0].map(cell).join(''),
  )
  return [
    `\n  Published in this run: ${total} events${total === 0 ? '' : ` (${channels})`}${fed === undefined ? '' : `; ${fed} of them by the GitHub feeder`}.\n`,
    `  ${['consumer', 'handled', 'retried', 'gave up', 'dead letters now'].map(cell).join('')}`,
    ...rows.map((row) => `  ${row}`),
    '\n  Closed. Nothing that was acknowledged is lost; start again to continue.\n',
  ].join('\n')
}

function cell(value: string | number, column: number): string {
  return column === 0 ? String(value).padEnd(14) : String(value).padStart(column === 4 ? 18 : 10)
}

async function main(): Promise<void> {
  const options = shopOptions(process.argv.slice(2), process.env)
  if (options === null) {
    console.log(USAGE)
    return
  }
  const shop = await open(options)
  let closing: Promise<void> | undefined
  const stop = (): void => {
    // A second request means: exit at once. Unfinished events are delivered again at the next start.
    if (closing !== undefined) process.exit(130)
    closing = close(shop).then(() => process.exit(0), fail)
  }
  for (const running of shop.running) running.done.catch(fail)
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  greet(shop, options)
}

function fail(error: unknown): never {
  console.error(
    `\n  ${isMillraceError(error) ? `${error.message} [${error.code}]` : String(error instanceof Error ? error.message : error)}\n`,
  )
  process.exit(1)
}

main().catch(fail)
