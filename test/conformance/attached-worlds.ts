/** Worlds in which the broker is attached to a data directory that another engine of this process owns. */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Broker } from '../../src/broker/broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { openSharedEngine } from '../../src/engines/embedded/shared-directory.ts'
import { connect } from '../../src/index.ts'
import type { ConformanceHarness } from '../../src/testing/conformance/conformance.ts'
import type { ConformanceWorld } from '../../src/testing/conformance/world.ts'
import { NO_OWN_KEY_REMOTE } from './own-key-lacks.ts'

class AttachedWorld implements ConformanceWorld {
  readonly #root = mkdtempSync(join(tmpdir(), 'millrace-conformance-'))
  readonly #owners: Promise<Engine>[] = []
  readonly #dead: Broker[] = []
  #generation = 0
  #broker: Broker | null = null

  get #url(): string {
    return `file:${join(this.#root, `data-${this.#generation}`)}`
  }

  async #owned(): Promise<string> {
    this.#owners[this.#generation] ??= openSharedEngine(this.#url)
    await this.#owners[this.#generation]
    return this.#url
  }

  async connect(): Promise<Broker> {
    this.#broker = await connect(await this.#owned())
    return this.#broker
  }

  readonly openEngine = async (): Promise<Engine> => openSharedEngine(await this.#owned())

  async crash(): Promise<void> {
    const from = join(this.#root, `data-${this.#generation++}`)
    const to = join(this.#root, `data-${this.#generation}`)
    const last = (name: string): number => (name.startsWith('journal') ? 1 : 0)
    for (const name of readdirSync(from).sort((a, b) => last(a) - last(b))) {
      if (!name.endsWith('.sock')) cpSync(join(from, name), join(to, name), { recursive: true })
    }
    if (this.#broker !== null) this.#dead.push(this.#broker)
    this.#broker = null
  }

  async dispose(): Promise<void> {
    for (const broker of this.#dead) await broker.close().catch(() => undefined)
    for (const owner of this.#owners) await (await owner).close().catch(() => undefined)
    if (existsSync(this.#root)) rmSync(this.#root, { recursive: true, force: true })
  }
}

export const attachedWorlds: Pick<ConformanceHarness, 'open' | 'lacks'> = {
  open: () => new AttachedWorld(),
  lacks: NO_OWN_KEY_REMOTE,
}
