import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import type { Permissions } from '../../src/gateway/access/permissions.ts'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway, type GatewayOptions } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

export const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> =>
  expect.poll(value, { timeout: 15_000 })

export interface AccessWorld {
  readonly broker: Broker
  readonly folder: string
  readonly tokens: string
  open(options: GatewayOptions): Gateway
  make(permissions: Permissions, rest?: object): string
}

/** Register the hooks that make a new world for each test of the file. */
export function accessWorld(): AccessWorld {
  let broker: Broker
  let folder: string
  let tokens: string
  const gateways: Gateway[] = []

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'millrace-access-'))
    tokens = join(folder, 'tokens.json')
    broker = await connect('memory:')
    await broker.declare(stream('orders.eu'), stream('orders.us'), stream('secrets'))
  })
  afterEach(async () => {
    for (const gateway of gateways.splice(0)) await gateway.close()
    await broker.close()
    rmSync(folder, { recursive: true })
  })

  return {
    get broker() {
      return broker
    },
    get folder() {
      return folder
    },
    get tokens() {
      return tokens
    },
    open(options) {
      const gateway = createGateway(broker, { drain: 0, ...options })
      gateways.push(gateway)
      return gateway
    },
    make: (permissions, rest = {}) => addToken(tokens, { name: 'shop', permissions, ...rest }).token,
  }
}

export interface Answer {
  readonly status: number
  readonly code: string
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: answers are inspected freely
  readonly body: any
}
export async function call(
  gateway: Gateway,
  path: string,
  token: string | null,
  method = 'GET',
  body?: object,
): Promise<Answer> {
  const headers: Record<string, string> = {
    'content-type': body !== undefined && 'specversion' in body ? 'application/cloudevents+json' : 'application/json',
  }
  if (token !== null) headers['authorization'] = `Bearer ${token}`
  const answer = await gateway.fetch(
    new Request(`http://events.example${path}`, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }),
  )
  const text = answer.headers.get('content-type')?.startsWith('text/event-stream') === true ? '' : await answer.text()
  const parsed = text === '' ? null : JSON.parse(text)
  return { status: answer.status, code: parsed?.code ?? '', headers: answer.headers, body: parsed }
}
export const event = { specversion: '1.0', id: '1', source: '/s', type: 't' }
