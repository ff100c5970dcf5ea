/** Worlds of the embedded engine for the conformance suite: in memory, and in a directory of their own. */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Broker } from '../../src/broker/broker.ts'
import { openFileEngine, openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { connect } from '../../src/index.ts'
import type { ConformanceHarness } from '../../src/testing/conformance/conformance.ts'
import type { ConformanceWorld } from '../../src/testing/conformance/world.ts'

type Embedded = Pick<ConformanceHarness, 'open' | 'lacks'>

const MEMORY_ENDS = 'memory: is forgotten when its broker closes'

export const memoryWorlds: Embedded = {
  open: () => ({ connect: () => connect('memory:'), openEngine: async () => openMemoryEngine() }),
  lacks: { reopen: MEMORY_ENDS, crash: MEMORY_ENDS, disk: 'memory: keeps its events in memory' },
}

/**
 * A crash is simulated by a copy of the directory, made while the broker runs and this process does nothing else: it
 * has what `kill -9` would leave. From then on, the copy is used. The "dead" broker continues in the old directory and
 * is closed at the end.
 */
class FileWorld implements ConformanceWorld {
  readonly #root = mkdtempSync(join(tmpdir(), 'millrace-conformance-'))
  readonly #dead: Broker[] = []
  #generation = 0
  #broker: Broker | null = null

  get #directory(): string {
    return join(this.#root, `data-${this.#generation}`)
  }

  async connect(): Promise<Broker> {
    this.#broker = await connect(`file:${this.#directory}`)
    return this.#broker
  }

  readonly openEngine = () => openFileEngine(`file:${this.#directory}`)

  async crash(): Promise<void> {
    const from = this.#directory
    this.#generation++
    // The index is copied first and the journal last. The copy is consistent if no file is reused in between.
    const last = (name: string): number => (name.startsWith('journal') ? 1 : 0)
    for (const name of readdirSync(from).sort((a, b) => last(a) - last(b))) {
      if (!name.endsWith('.sock')) cpSync(join(from, name), join(this.#directory, name), { recursive: true })
    }
    if (this.#broker !== null) this.#dead.push(this.#broker)
    this.#broker = null
  }

  async dispose(): Promise<void> {
    for (const broker of this.#dead) await broker.close().catch(() => undefined)
    if (existsSync(this.#root)) rmSync(this.#root, { recursive: true, force: true })
  }
}

export const fileWorlds: Embedded = { open: () => new FileWorld() }
