/** The contract on the newest installed NATS server. */
import { describe } from 'vitest'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { natsWorlds, newestKind } from './nats-worlds.ts'
import { sideBySide } from './side-by-side.ts'

const ORDER = 'it looks at the order over keys, which several partitions do not keep; run with one partition below'
const COUNT = 'the servers forget ids by age only: a window of so many ids remembers at least those'

describe.skipIf(newestKind === undefined)('four partitions', () => {
  if (newestKind === undefined) return
  conformance({
    test: sideBySide,
    ...natsWorlds(newestKind, 'partitions=4'),
    exempt: {
      '08-deduplication/the-window-holds-as-many-ids-as-it-says': COUNT,
      '06-dead-letter/block-holds-back-everything': ORDER,
      '06-dead-letter/block-ends-when-the-dead-letter-is-dropped': ORDER,
      '13-retention/a-consumer-that-is-too-late-goes-on-with-what-is-kept': ORDER,
    },
  })
})

describe.skipIf(newestKind === undefined)('one partition', () => {
  if (newestKind === undefined) return
  const worlds = natsWorlds(newestKind, 'partitions=1')
  for (const only of ['06-dead-letter/block', '13-retention/a-consumer-that-is-too-late'])
    conformance({ test: sideBySide, ...worlds, only })
})
