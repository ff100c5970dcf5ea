/** The contract over `ws:` through a proxy that cuts, delays and splits, controlled by the seed `MILLRACE_SEED`. */
import { afterAll, expect } from 'vitest'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { remoteFileWorlds } from './remote-worlds.ts'
import { sideBySide } from './side-by-side.ts'
import { type UnkindProxy, unkindProxy } from './unkind-proxy.ts'

let seed = Number(process.env['MILLRACE_SEED'] ?? 4711)
const proxies: UnkindProxy[] = []

conformance({
  test: sideBySide,
  patience: { eventuallyMs: 50_000 },
  timeoutMs: 110_000,
  ...remoteFileWorlds(async (port) => {
    const proxy = await unkindProxy(port, {
      seed: seed++,
      livesMs: 500,
      graceMs: 300,
      pieceBytes: 16_384,
      delayMs: 3,
      delayed: 0.05,
    })
    proxies.push(proxy)
    return proxy
  }),
})

afterAll(() => {
  expect(
    proxies.reduce((sum, { cuts }) => sum + cuts, 0),
    'the proxy was unkind',
  ).toBeGreaterThan(100)
})
