/** The contract on a real Redis. */
import { afterAll, beforeAll, describe, test } from 'vitest'
import { redisKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { kindOf } from '../engines/servers.ts'
import { RedisWorld } from './redis-worlds.ts'
import { sideBySide } from './side-by-side.ts'

const kind = kindOf('redis', () => redisKind())

describe.skipIf(kind === undefined)('redis', () => {
  let server: Server

  beforeAll(async () => {
    if (kind !== undefined) server = await Server.start(kind)
  })
  afterAll(() => server?.stop())

  conformance({ test: sideBySide, open: () => new RedisWorld(server.url, 4) })
  test.skip('nothing else', () => undefined)
})
