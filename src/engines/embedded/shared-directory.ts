/**
 * Several processes on one data directory. One process owns the directory; the others attach to it through a socket.
 * When the owner ends, one of the others becomes the owner.
 *
 * Invariants: the directory has one owner at a time (`storage/directory-owner.ts`). A process that attached keeps its
 * engine as long as it is open. The engine's connection leads to the owner: another process, or after a takeover this
 * one.
 */

import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { realNowMs, realTimeout } from '../../base/timers.ts'
import type { OpenOptions } from '../../broker/connect.ts'
import type { Engine } from '../../broker/engine.ts'
import { localAccess } from '../../wire/access.ts'
import { RemoteEngine } from '../../wire/client/remote-engine.ts'
import { SessionServer } from '../../wire/server/session-server.ts'
import { dialSocket, SocketTransport } from '../../wire/socket-transport.ts'
import { loopback, type Transport } from '../../wire/transport.ts'
import { directoryOf } from './directory-url.ts'
import { claim as claimOf, openClaimed } from './open.ts'
import { ownerSocket } from './storage/directory-owner.ts'
import { withAddress } from './storage/owner-socket.ts'

/** The directory while this process owns it: its engine, and the sessions of other processes on it. */
interface Owned {
  readonly engine: Engine
  readonly sessions: SessionServer
}

/**
 * An owner may be about to leave, or a new one about to start. So for this time the directory is tried again before the
 * call fails with DIRECTORY_IN_USE.
 */
const PATIENCE_MS = 4000
const TRY_AGAIN_MS = 50

class SharedDirectory {
  readonly #directory: string
  readonly #options: Pick<OpenOptions, 'onAlarm' | 'notice'>
  #owned: Owned | null = null
  #closed = false

  constructor(directory: string, options: Pick<OpenOptions, 'onAlarm' | 'notice'>) {
    this.#directory = directory
    this.#options = options
  }

  /**
   * Own the directory, or attach to its owner.
   * @throws DIRECTORY_IN_USE · DIRECTORY_UNUSABLE · DATA_DAMAGED · DATA_FOREIGN
   */
  async open(): Promise<Engine> {
    for (const begunMs = realNowMs(); ; ) {
      try {
        return (await this.#own()).engine
      } catch (error) {
        if (!(error instanceof MillraceError) || error.code !== 'DIRECTORY_IN_USE') throw error
        if (error.details['met'] === 'forbidden') throw error
        // An owner on a busy machine may answer late. One that does not answer is tried until the patience ends.
        if (error.details['met'] === 'silent' && realNowMs() >= begunMs + PATIENCE_MS) throw error
        const attached = await this.#attach(error, begunMs + PATIENCE_MS)
        if (attached !== null) return attached
      }
    }
  }

  /**
   * An engine over the owner's socket; null if the owner has ended meanwhile.
   * @throws DIRECTORY_IN_USE after `untilMs`
   */
  async #attach(inUse: MillraceError, untilMs: number): Promise<Engine | null> {
    try {
      return await RemoteEngine.open({
        name: 'file',
        dial: () => this.#dial(),
        reconnectMsMax: LIMITS.sharedReconnectMsMax,
        onAlarm: this.#options.onAlarm,
        release: () => this.#release(),
      })
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== 'UNAVAILABLE') throw error
      if (realNowMs() >= untilMs) throw inUse
      await new Promise((resolve) => realTimeout(resolve, TRY_AGAIN_MS))
      return null
    }
  }

  /** @throws DIRECTORY_IN_USE · DIRECTORY_UNUSABLE · DATA_DAMAGED · DATA_FOREIGN */
  async #own(): Promise<Owned> {
    const claim = await claimOf(this.#directory)
    const engine = await openClaimed(
      this.#directory,
      claim,
      this.#options,
      {},
      { claimsMs: LIMITS.sharedClaimsMs, closing: () => sessions.close() },
    )
    const sessions = new SessionServer(engine)
    this.#owned = { engine, sessions }
    claim.serve((socket) => {
      const transport = new SocketTransport(socket)
      transport.hold(false)
      sessions.accept(transport, () => localAccess)
    })
    return this.#owned
  }

  /** Connect to the owner. If there is none, this process becomes the owner. */
  async #dial(): Promise<Transport> {
    if (this.#owned === null) {
      const path = ownerSocket(this.#directory)
      if (path !== null) {
        try {
          return await withAddress(
            path,
            async (address) => (await dialSocket(address, LIMITS.sharedAnswerMs)).transport,
          )
        } catch (error) {
          if ((error as MillraceError).details['errno'] === null) throw error
        }
      }
      await this.#takeOver()
    }
    const [mine, served] = loopback()
    ;(this.#owned as Owned | null)?.sessions.accept(served, () => localAccess)
    return mine
  }

  async #takeOver(): Promise<void> {
    try {
      await this.#own()
    } catch (error) {
      // Another process became the owner first. The next try attaches to it.
      if (error instanceof MillraceError && error.code === 'DIRECTORY_IN_USE')
        throw new MillraceError('UNAVAILABLE', error.message, error.details, { cause: error })
      throw error
    }
    if (this.#closed) return this.#release()
    this.#options.notice?.('the process that owned the data directory has ended: this one has taken over', {
      directory: this.#directory,
      pid: process.pid,
    })
  }

  async #release(): Promise<void> {
    this.#closed = true
    const owned = this.#owned
    this.#owned = null
    await owned?.engine.close()
  }
}

/**
 * The engine of a data directory that other processes may have open too.
 * @throws DIRECTORY_IN_USE when its owner cannot be reached · DIRECTORY_UNUSABLE · DATA_DAMAGED · DATA_FOREIGN
 */
export function openSharedEngine(url: string, options: Pick<OpenOptions, 'onAlarm' | 'notice'> = {}): Promise<Engine> {
  return new SharedDirectory(directoryOf(url), options).open()
}
