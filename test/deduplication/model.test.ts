/**
 * Deduplication compared with a plain model (clause 8): singles, batches, delays, emissions and restarts at once, on
 * the embedded engine and on the engine over servers. `MILLRACE_SEEDS=N` runs more histories. A failure names its seed,
 * and shows the shortest history found that breaks a rule.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Engine } from '../../src/broker/engine.ts'
import { memoryCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { EmbeddedEngine } from '../../src/engines/embedded/embedded-engine.ts'
import { MemoryStore } from '../../src/engines/embedded/storage/memory-store.ts'
import type { StoredBlock } from '../../src/engines/embedded/store.ts'
import type { Block } from '../../src/event/block.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'
import { type History, historyFrom, shrunk } from './history.ts'
import { failureOf, type Stage } from './player.ts'

const SEEDS = Number(process.env['MILLRACE_SEEDS'] ?? 300)
const FIRST = Number(process.env['MILLRACE_SEED'] ?? 0)
/** These take real time, so they run in parallel. */
const SERVED_SEEDS = Math.min(SEEDS, 24)

/** A store in which some blocks have left memory. It survives when its engine closes. */
class ForgetfulStore extends MemoryStore<Block> {
  readonly #random: () => number

  constructor(seed: number) {
    super()
    this.#random = seededRandom(seed)
  }

  override peek(channelId: number, offset: number): ReturnType<MemoryStore<Block>['peek']> {
    return this.#random() < 0.5 ? undefined : super.peek(channelId, offset)
  }

  override async read(...asked: Parameters<MemoryStore<Block>['read']>): Promise<StoredBlock[]> {
    await new Promise((resolve) => setImmediate(resolve))
    return super.read(...asked)
  }

  override async close(): Promise<void> {
    // The next engine continues with it.
  }
}

/** A planted fault: the ids of waiting events are never found. */
class WithoutWaitingIds extends ForgetfulStore {
  override get(key: string): Uint8Array | undefined {
    return key.startsWith('s/') ? undefined : super.get(key)
  }
}

function embedded(seed: number, store: ForgetfulStore = new ForgetfulStore(seed)): Stage {
  const clock = new VirtualClock(1_000_000)
  const settled = async (engine: Engine): Promise<void> => {
    for (let quiet = 0; quiet < 4; ) {
      while (clock.nextMs <= clock.now()) clock.step(clock.now())
      await new Promise((resolve) => setImmediate(resolve))
      quiet = (engine as EmbeddedEngine).busy ? 0 : quiet + 1
    }
  }
  return {
    nowMs: () => clock.now(),
    open: async () => new EmbeddedEngine({ name: 'memory', capabilities: memoryCapabilities, store, clock }),
    settled,
    pass: async (engine, ms) => {
      const until = clock.now() + ms
      for (await settled(engine); clock.nextMs <= until; await settled(engine)) clock.step(until)
      clock.step(until)
      await settled(engine)
    },
  }
}

function served(): Stage {
  const server = new MemoryServer()
  return {
    nowMs: () => Date.now(),
    open: () => ExternalLogEngine.open({ backend: new MemoryBackend(server), partitions: 2 }),
    settled: async () => undefined,
    pass: async (_, ms) => void (await sleep(ms)),
  }
}

async function account(seed: number, stage: () => Stage): Promise<string | null> {
  const failure = (history: History): Promise<string | null> => failureOf(stage(), history)
  const history = historyFrom(seed)
  const first = await failure(history)
  if (first === null) return null
  const short = await shrunk(history, failure)
  const steps = short.map((group) => group.map((step) => JSON.stringify(step)).join(' | '))
  return [`seed ${seed}: ${(await failure(short)) ?? first}`, ...steps].join('\n')
}

it(`${SEEDS} histories on the embedded engine`, { timeout: 60_000 + SEEDS * 100 }, async () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) expect(await account(seed, () => embedded(seed))).toBeNull()
})

it('a planted fault is found', async () => {
  const found: string[] = []
  for (let seed = 0; seed < 100 && found.length === 0; seed++) {
    const failure = await failureOf(embedded(seed, new WithoutWaitingIds(seed)), historyFrom(seed))
    if (failure !== null) found.push(failure)
  }
  expect(found).toHaveLength(1)
})

it(`${SERVED_SEEDS} histories on the engine over servers`, { timeout: 120_000 }, async () => {
  const seeds = Array.from({ length: SERVED_SEEDS }, (_, at) => FIRST + at)
  const found = await Promise.all(
    seeds.map(async (seed) => {
      const failure = await failureOf(served(), historyFrom(seed))
      return failure === null
        ? null
        : `seed ${seed}: ${failure}\n${historyFrom(seed)
            .map((group) => JSON.stringify(group))
            .join('\n')}`
    }),
  )
  expect(found.filter((failure) => failure !== null)).toEqual([])
})
