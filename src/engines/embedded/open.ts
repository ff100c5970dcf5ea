/** Opening the embedded engine: `memory:`, or `file:` with a directory. */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Clock, systemClock } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import type { ConnectOptions } from '../../broker/connect.ts'
import { decodeBlock } from '../../event/block.ts'
import { fileCapabilities, memoryCapabilities } from './capabilities.ts'
import { directoryOf } from './directory-url.ts'
import { EmbeddedEngine } from './embedded-engine.ts'
import type { EmbeddedEngineOptions } from './embedded-options.ts'
import { DATA_FILES, refuseStrange } from './storage/directory-format.ts'
import { claimDirectory, type DirectoryClaim, isOwned } from './storage/directory-owner.ts'
import { DiskStore, type DiskStoreOptions } from './storage/disk-store.ts'
import { protectAll } from './storage/file-modes.ts'
import { nodeFileSystem } from './storage/file-system.ts'
import { MemoryStore } from './storage/memory-store.ts'
import { ReadOnlyStore } from './storage/read-only-store.ts'
import { needDescriptors, refusalOf } from './storage/system-refusal.ts'

/** A reader beside an owner waits so long first: what was acknowledged before is applied by then, where readers see it (every tenth of a second). */
const APPLIED_MS = 250

/** An engine that keeps everything in memory, by a clock of one's own if need be. */
export function openMemoryEngine(
  options: Pick<ConnectOptions, 'onAlarm'> = {},
  clock: Clock = systemClock,
): EmbeddedEngine {
  return new EmbeddedEngine({
    name: 'memory',
    capabilities: memoryCapabilities,
    store: new MemoryStore(),
    clock,
    onAlarm: options.onAlarm,
  })
}

/** The engine of a `memory:` URL. @throws INVALID_OPTION when the URL names something: each engine is another, whatever its name */
export function openMemoryUrl(url: string, options: Pick<ConnectOptions, 'onAlarm'>): EmbeddedEngine {
  if (/^memory:(?:\/\/)?$/.test(url)) return openMemoryEngine(options)
  throw new MillraceError(
    'INVALID_OPTION',
    `"${url}": memory: takes no name, because each connection has its own data. Connect once and share the broker, or use file:./data`,
    { url },
  )
}

/**
 * A data directory to look at, beside its owner or without one.
 * @throws DATA_MISSING · DATA_DAMAGED · DATA_FOREIGN
 */
export async function openFileReader(url: string): Promise<EmbeddedEngine> {
  const directory = directoryOf(url)
  if (!existsSync(directory))
    throw new MillraceError('DATA_MISSING', `${directory} does not exist: name a directory with Millrace data`, {
      directory,
    })
  try {
    needDescriptors()
    const owned = await isOwned(directory)
    const store = ReadOnlyStore.open(directory, (block) => decodeBlock(block.channelId, block.bytes), owned)
    if (owned) {
      await sleep(APPLIED_MS)
      store.refresh()
    }
    return new EmbeddedEngine({
      name: 'file',
      capabilities: fileCapabilities,
      store,
      clock: systemClock,
      refresh: () => store.refresh(),
    })
  } catch (error) {
    throw refusalOf(directory, error)
  }
}

/**
 * The engine of a data directory, which this process owns until it closes, and on which no others are served.
 * @throws DIRECTORY_IN_USE · DIRECTORY_UNUSABLE · DATA_DAMAGED · DATA_FOREIGN
 */
export async function openFileEngine(
  url: string,
  options: Pick<ConnectOptions, 'onAlarm'> = {},
  storage: DiskStoreOptions = {},
): Promise<EmbeddedEngine> {
  const directory = directoryOf(url)
  return openClaimed(directory, await claim(directory), options, storage)
}

/**
 * Own a directory.
 * @throws DIRECTORY_IN_USE · DIRECTORY_UNUSABLE, where the system refuses it · DATA_FOREIGN · DISK_FULL
 */
export async function claim(directory: string): Promise<DirectoryClaim> {
  try {
    needDescriptors()
    refuseStrange(nodeFileSystem, directory)
    return await claimDirectory(directory)
  } catch (error) {
    throw refusalOf(directory, error)
  }
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
  shared: Pick<EmbeddedEngineOptions, 'claimsMs' | 'closing'> = {},
): Promise<EmbeddedEngine> {
  try {
    protectAll(directory, DATA_FILES)
    const store = await DiskStore.open(directory, (block) => decodeBlock(block.channelId, block.bytes), {
      guard: () => claim.check(),
      ...storage,
    })
    return new EmbeddedEngine({
      name: 'file',
      capabilities: fileCapabilities,
      store,
      clock: systemClock,
      onAlarm: options.onAlarm,
      ...shared,
      backup: (target) => store.backup(target),
      release: () => claim.release(),
    })
  } catch (error) {
    await claim.release()
    throw refusalOf(directory, error)
  }
}
