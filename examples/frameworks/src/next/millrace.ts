/** The broker and the gateway of the process, opened at the first use: `next build` loads the routes and calls none. */
import { type Broker, connect } from 'millrace'
import { createGateway, type Gateway } from 'millrace/gateway'
import { mailer } from '../orders.ts'

export interface Millrace {
  readonly broker: Broker
  readonly gateway: Gateway
  close(): Promise<void>
}

async function open(): Promise<Millrace> {
  const broker = await connect(process.env['BROKER_URL'] ?? 'file:./data')
  // Next adds x-forwarded headers to each request, so the gateway needs tokens: millrace tokens add makes them.
  const tokens = process.env['MILLRACE_TOKENS'] ?? './data/.tokens.json'
  const gateway = createGateway(broker, { console: true, access: { tokens } })
  await gateway.started
  await broker.start(mailer)
  const close = async (): Promise<void> => {
    await gateway.close() // ends event streams, which never end by themselves
    await broker.close() // waits for running handlers
  }
  return { broker, gateway, close }
}

/** Next may load this module several times in one process; globalThis is the same for all. */
const shared = globalThis as { millrace?: Promise<Millrace> }

export function millrace(): Promise<Millrace> {
  shared.millrace ??= open()
  return shared.millrace
}
