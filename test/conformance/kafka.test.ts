/** The whole contract on a real Kafka server (4.x, KRaft). */
import { afterAll, beforeAll, describe } from 'vitest'
import { kafkaKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { kafkaCapabilities } from '../../src/engines/kafka/capabilities.ts'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { kindOf } from '../engines/servers.ts'
import { kafkaWorlds } from './kafka-worlds.ts'
import { NO_OWN_KEY_ON_SERVERS } from './own-key-lacks.ts'
import { sideBySide } from './side-by-side.ts'

const ORDER = 'it looks at the order over keys, which several partitions do not keep; run with one partition below'
const kind = kindOf('kafka', () => kafkaKind())

describe.skipIf(kind === undefined)('kafka', () => {
  let server: Server
  beforeAll(async () => {
    if (kind !== undefined) server = await Server.start(kind)
  }, 120_000)
  afterAll(() => server?.stop(), 60_000)

  conformance({
    test: sideBySide,
    ...kafkaWorlds(() => server.url, 4),
    lacks: NO_OWN_KEY_ON_SERVERS,
    capabilities: kafkaCapabilities('synced'),
    exempt: {
      '06-dead-letter/block-holds-back-everything': ORDER,
      '06-dead-letter/block-ends-when-the-dead-letter-is-dropped': ORDER,
      '13-retention/a-consumer-that-is-too-late-goes-on-with-what-is-kept': ORDER,
    },
  })

  for (const only of ['06-dead-letter/block', '13-retention/a-consumer-that-is-too-late']) {
    describe('one partition', () => conformance({ test: sideBySide, ...kafkaWorlds(() => server.url, 1), only }))
  }
})
