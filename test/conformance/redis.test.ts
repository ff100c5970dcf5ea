/** The contract on a real Redis, each scenario under a prefix of its own. */

import { afterAll, beforeAll, describe } from 'vitest'
import { redisKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { redisCapabilities } from '../../src/engines/redis/capabilities.ts'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { kindOf } from '../engines/servers.ts'
import { NO_OWN_KEY_ON_SERVERS } from './own-key-lacks.ts'
import { RedisWorld } from './redis-worlds.ts'
import { sideBySide } from './side-by-side.ts'

const ORDER = 'it looks at the order over keys, which several partitions do not keep; run with one partition below'

const kind = kindOf('redis', () => redisKind())
const PATIENT = { patience: { eventuallyMs: 40_000 }, timeoutMs: 120_000 }

describe.skipIf(kind === undefined)('redis', () => {
  let server: Server

  beforeAll(async () => {
    if (kind !== undefined) server = await Server.start(kind)
  })
  afterAll(() => server?.stop())

  describe('four partitions', () => {
    conformance({
      test: sideBySide,
      open: () => new RedisWorld(server.url, 4),
      lacks: NO_OWN_KEY_ON_SERVERS,
      capabilities: redisCapabilities({ support: 'native', reason: 'the test starts the server' }, 4),
      ...PATIENT,
      exempt: {
        '06-dead-letter/block-holds-back-everything': ORDER,
        '06-dead-letter/block-ends-when-the-dead-letter-is-dropped': ORDER,
        '13-retention/a-consumer-that-is-too-late-goes-on-with-what-is-kept': ORDER,
      },
    })
  })

  describe('one partition', () => {
    for (const only of ['06-dead-letter/block', '13-retention/a-consumer-that-is-too-late']) {
      conformance({ test: sideBySide, open: () => new RedisWorld(server.url, 1), ...PATIENT, only })
    }
  })
})
