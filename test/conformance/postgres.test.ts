/** The contract on a real Postgres, each scenario in a schema of its own. */
import { afterAll, beforeAll, describe } from 'vitest'
import { postgresKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { postgresCapabilities } from '../../src/engines/postgres/capabilities.ts'
import { SYNCED } from '../../src/engines/postgres/server-check.ts'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { kindOf } from '../engines/servers.ts'
import { NO_OWN_KEY_ON_SERVERS } from './own-key-lacks.ts'
import { PostgresWorld } from './postgres-worlds.ts'
import { sideBySide } from './side-by-side.ts'

const ORDER = 'it looks at the order over keys, which several partitions do not keep; run with one partition below'

const kind = kindOf('postgres', () => postgresKind())
const PATIENT = { patience: { eventuallyMs: 40_000 }, timeoutMs: 120_000 }

describe.skipIf(kind === undefined)('postgres', () => {
  let server: Server

  beforeAll(async () => {
    if (kind !== undefined) server = await Server.start(kind)
  })
  afterAll(() => server?.stop())

  describe('four partitions', () => {
    conformance({
      test: sideBySide,
      open: () => new PostgresWorld(server.url, 4),
      lacks: NO_OWN_KEY_ON_SERVERS,
      capabilities: postgresCapabilities({ support: 'native', reason: SYNCED }, 4),
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
      conformance({ test: sideBySide, open: () => new PostgresWorld(server.url, 1), ...PATIENT, only })
    }
  })
})
