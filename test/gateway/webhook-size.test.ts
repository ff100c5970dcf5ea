/** How large a webhook's delivery may be. */
import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { serveGateway, type WebhookOptions } from '../../src/gateway/index.ts'
import { connect } from '../../src/index.ts'

test('an endpoint with `maxEventBytes` takes a delivery that is larger than the default of channels', async () => {
  const real = await connect('memory:')
  const endpoint = (bytes?: string): WebhookOptions => ({
    scheme: 'github',
    secret: 's',
    channel: 'hooks',
    ...(bytes !== undefined && { maxEventBytes: bytes as `${number}MiB` }),
  })
  const server = await serveGateway(real, { port: 0, webhooks: { in: endpoint('3MiB'), also: endpoint('2MiB') } })
  const send = async (id: string, bytes: number): Promise<unknown> => {
    const body = JSON.stringify({ text: 'x'.repeat(bytes) })
    const signature = `sha256=${createHmac('sha256', 's').update(body).digest('hex')}`
    const github = { 'x-hub-signature-256': signature, 'x-github-event': 'push', 'x-github-delivery': id }
    const headers = { 'content-type': 'application/json', ...github }
    return (await fetch(`${server.url}/webhooks/in`, { method: 'POST', headers, body })).json()
  }
  expect(await send('big', 2_500_000)).toMatchObject({ receipts: [{ id: 'big', offset: 0 }] })
  expect(await send('huge', 3_500_000)).toMatchObject({ code: 'EVENT_TOO_LARGE' })
  await server.close()
  const other = serveGateway(real, { port: 0, webhooks: { in: endpoint('4MiB') } })
  await expect(other).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('3145728 bytes, not 4194304'),
  })
  await (await serveGateway(real, { port: 0, webhooks: { in: endpoint() } })).close()
  await real.close()
})
