/** Opens the embedded engine: `memory:`, or `file:` with a directory. */
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

/**
 * A reader beside an owner waits this long first. After it, everything acknowledged before is in the segments, where a
 * reader sees it: the owner writes them every 100 ms.
 */
const APPLIED_MS = 250

/** An engine that keeps everything in memory, with another clock for tests. */
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

/**
 * The engine of a `memory:` URL.
 * @throws INVALID_OPTION when the URL has a name: each connection gets an engine of its own, so a name means nothing
 */
export function openMemoryUrl(url: string, options: Pick<ConnectOptions, 'onAlarm'>): EmbeddedEngine {
  if (/^memory:(?:\/\/)?$/.test(url)) return openMemoryEngine(options)
  throw new MillraceError(
    'INVALID_OPTION',
    `"${url}": memory: takes no name, because each connection has its own data. Connect once and share the broker, or use file:./data`,
    { url },
  )
}

/**
 * Opens a data directory for reading only, with or without a running owner.
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
 * The engine of a data directory. This process owns the directory until it closes, and serves no other processes.
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
 * Become the owner of a directory.
 * @throws DIRECTORY_IN_USE · DIRECTORY_UNUSABLE when the system refuses access · DATA_FOREIGN · DISK_FULL
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
 * The engine of a claimed directory. The engine owns the claim, and releases it when it closes or cannot open.
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
