/** Opening the embedded engine: `memory:`, or `file:` with a directory. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Clock, systemClock } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import type { ConnectOptions } from '../../broker/connect.ts'
import { decodeBlock } from '../../event/block.ts'
import { fileCapabilities, memoryCapabilities } from './capabilities.ts'
import { EmbeddedEngine } from './embedded-engine.ts'
import { claimDirectory, type DirectoryClaim, isOwned } from './storage/directory-owner.ts'
import { DiskStore, type DiskStoreOptions } from './storage/disk-store.ts'
import { MemoryStore } from './storage/memory-store.ts'
import { ReadOnlyStore } from './storage/read-only-store.ts'

/** A reader beside an owner waits so long first: what was acknowledged before is applied by then, where readers see it (every tenth of a second). */
const APPLIED_MS = 250

/** An engine that keeps everything in memory, by a clock of one's own if need be. */
export function openMemoryEngine(options: Pick<ConnectOptions, 'onAlarm'> = {}, clock: Clock = systemClock): EmbeddedEngine {
  return new EmbeddedEngine({ name: 'memory', capabilities: memoryCapabilities, store: new MemoryStore(), clock, onAlarm: options.onAlarm })
}

/** The directory of a `file:` URL: `file:./data`, `file:data`, `file:/var/lib/app`, `file:///var/lib/app`. */
export function directoryOf(url: string): string {
  const path = url.startsWith('file://') ? fileURLToPath(url) : decodeURIComponent(url.slice('file:'.length))
  if (path === '') throw new MillraceError('INVALID_OPTION', 'file: needs a directory, as in file:./data', { url })
  return resolve(path)
}

/**
 * A data directory to look at, beside its owner or without one.
 * @throws DATA_MISSING · DATA_DAMAGED · DATA_FOREIGN
 */
export async function openFileReader(url: string): Promise<EmbeddedEngine> {
  const directory = directoryOf(url)
  if (!existsSync(directory)) throw new MillraceError('DATA_MISSING', `${directory} does not exist: name a directory with Millrace data`, { directory })
  const owned = await isOwned(directory)
  const store = ReadOnlyStore.open(directory, (block) => decodeBlock(block.channelId, block.bytes), owned)
  if (owned) {
    await sleep(APPLIED_MS)
    store.refresh()
  }
  return new EmbeddedEngine({ name: 'file', capabilities: fileCapabilities, store, clock: systemClock, refresh: () => store.refresh() })
}

/**
 * The engine of a data directory, which this process owns until it closes, and on which no others are served.
 * @throws DIRECTORY_IN_USE · DATA_DAMAGED · DATA_FOREIGN
 */
export async function openFileEngine(url: string, options: Pick<ConnectOptions, 'onAlarm'> = {}, storage: DiskStoreOptions = {}): Promise<EmbeddedEngine> {
  const directory = directoryOf(url)
  return openClaimed(directory, await claimDirectory(directory), options, storage)
}

/**
 * The engine of a directory that was claimed: it holds the claim from now on.
 * @throws DATA_DAMAGED · DATA_FOREIGN
 */
export async function openClaimed(
  directory: string,
  claim: DirectoryClaim,
  options: Pick<ConnectOptions, 'onAlarm'>,
  storage: DiskStoreOptions = {},
  claimsMs?: number,
): Promise<EmbeddedEngine> {
  try {
    const store = await DiskStore.open(directory, (block) => decodeBlock(block.channelId, block.bytes), storage)
    return new EmbeddedEngine({
      name: 'file',
      capabilities: fileCapabilities,
      store,
      clock: systemClock,
      onAlarm: options.onAlarm,
      claimsMs,
      release: () => claim.release(),
    })
  } catch (error) {
    await claim.release()
    throw error
  }
}
