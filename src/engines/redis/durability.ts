/**
 * Clause 1 on Redis: what an acknowledgement of this server means. The server itself is asked when the connection is
 * made, and each time it is made again.
 *
 * `appendfsync always` with the append-only file is durable. Without the append-only file, a server is refused, unless
 * the URL accepts that. If `appendfsync` is weaker or cannot be read (managed servers forbid CONFIG), and the URL does
 * not accept less, a server from 7.2 on (or Valkey) is asked to wait for its disk: WAITAOF after each write. An older
 * server is refused if its `appendfsync` is weaker. If it cannot be read, the server is accepted with a doubt.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Capability } from '../../broker/capabilities.ts'
import type { RedisLink } from './redis-link.ts'
import type { Durable, RedisSettings } from './redis-url.ts'

/** The settings with which an acknowledgement is durable. */
export const SYNCED = 'appendonly yes and appendfsync always: an answer comes after the sync'

/** A server that loads its data is asked again after this long. */
const LOADING_MS = 50

/** A server that did not answer is asked again after this long. */
const AGAIN_MS = 500

const OLDEST = [7, 0] as const
const WAITAOF_FROM = [7, 2] as const

export interface Durability {
  readonly capability: Capability
  /** The command that follows each write: `WAITAOF`, `WAIT` or none. */
  readonly wait: { readonly command: 'WAITAOF' | 'WAIT'; readonly local: 0 | 1; readonly replicas: number } | null
  /** What could not be checked; null if everything was. */
  readonly doubt: MillraceError | null
}

interface ServerFacts {
  readonly version: readonly [number, number]
  readonly shownVersion: string
  readonly appendOnly: boolean
  /** Null if the user may not read it. */
  readonly fsync: string | null
  readonly evicts: string | null
}

/** Checks how the server stores writes. @throws CLAUSE_REFUSED · UNAVAILABLE */
export async function checkDurability(link: Pick<RedisLink, 'call'>, settings: RedisSettings): Promise<Durability> {
  const facts = await factsOf(link)
  if (compare(facts.version, OLDEST) < 0) {
    throw refused(
      `needs Redis 7.0 or later, and the server is ${facts.shownVersion}: its scripts and streams lack features that the engine needs`,
      {
        clause: null,
      },
    )
  }
  if (facts.evicts !== null) {
    throw refused(
      `the server may evict stored data (maxmemory-policy ${facts.evicts}): set maxmemory-policy noeviction`,
      { setting: 'maxmemory-policy' },
    )
  }
  return judge(facts, settings)
}

/**
 * The same for a server after a reconnect, which may be another server. It is asked until it answers, or until `over`
 * says that the answer is not needed any more (null). An error as the answer means that the server must not be written
 * to. Never rejects.
 */
export async function durabilityAgain(
  link: Pick<RedisLink, 'call'>,
  settings: RedisSettings,
  over: () => boolean,
): Promise<Durability | MillraceError | null> {
  while (!over()) {
    try {
      const found = await checkDurability(link, settings)
      return over() ? null : found
    } catch (error) {
      if (over()) return null
      if (isMillraceError(error) && !error.retryable) return error
    }
    await sleep(AGAIN_MS, undefined, { ref: false })
  }
  return null
}

function judge(facts: ServerFacts, { durable, replicas }: Pick<RedisSettings, 'durable' | 'replicas'>): Durability {
  const canWait = compare(facts.version, WAITAOF_FROM) >= 0
  const onReplicas = replicas === 0 ? '' : `, and ${replicas} replica${replicas === 1 ? '' : 's'} had it`
  const wait = replicas === 0 ? null : ({ command: 'WAIT', local: 0, replicas } as const)
  if (!facts.appendOnly) {
    if (durable !== 'memory')
      throw weaker(
        'the append-only file is off (appendonly no)',
        'set appendonly yes and appendfsync always',
        'memory',
        'appendonly',
      )
    return { capability: lost('?durable=memory: acknowledged events are lost when the server ends'), wait, doubt: null }
  }
  if (facts.fsync === 'always') {
    const capability = { support: 'native', reason: `${SYNCED}${onReplicas}` } as const
    return {
      capability,
      wait: replicas > 0 && canWait ? { command: 'WAITAOF', local: 1, replicas } : wait,
      doubt: null,
    }
  }
  if (durable !== 'always') {
    const reason = `?durable=${durable}: events acknowledged in the last second or two may be lost with the server (appendfsync ${facts.fsync ?? 'unknown'})`
    return { capability: lost(reason), wait, doubt: null }
  }
  if (canWait) return waiting(facts, replicas, onReplicas)
  if (facts.fsync === null) {
    const doubt = `the server does not let this user read its settings: whether it syncs before it answers (appendfsync always) could not be checked`
    const capability = { support: 'native', reason: `declared, not checked: ${doubt}` } as const
    return {
      capability,
      wait,
      doubt: refused(
        `${doubt}. Allow CONFIG GET, or use a server from 7.2 on, which can wait for its disk on request`,
        {},
      ),
    }
  }
  throw weaker(
    `the server answers before it syncs (appendfsync ${facts.fsync})`,
    'set appendfsync always, or use a server from 7.2 on',
    'everysec',
    'appendfsync',
  )
}

/** The server does not sync each write by itself, but can be asked whether it has. */
function waiting({ fsync }: ServerFacts, replicas: number, onReplicas: string): Durability {
  return {
    capability: {
      support: 'emulated',
      reason: `appendfsync ${fsync ?? 'cannot be read'}: each write is followed by WAITAOF, which answers after the sync${onReplicas}`,
      ...(fsync !== null && { cost: 'with everysec, up to a second a write: appendfsync always is faster' }),
    },
    wait: { command: 'WAITAOF', local: 1, replicas },
    doubt: null,
  }
}

function lost(reason: string): Capability {
  return { support: 'refused', reason }
}

function refused(why: string, details: Readonly<Record<string, unknown>>): MillraceError {
  return new MillraceError('CLAUSE_REFUSED', `redis: ${why}`, { engine: 'redis', clause: 1, ...details })
}

function weaker(why: string, todo: string, option: Durable, setting: string): MillraceError {
  return refused(
    `an acknowledged event would not survive a power cut: ${why}. ${todo[0]?.toUpperCase()}${todo.slice(1)}, or accept it with ?durable=${option} in the URL`,
    {
      setting,
    },
  )
}

/**
 * What the server says about itself. A server that loads its data says that the append-only file is off, so it is asked
 * again until the data is loaded.
 */
async function infoOf(link: Pick<RedisLink, 'call'>): Promise<ReadonlyMap<string, string>> {
  const end = performance.now() + LIMITS.brokerPatienceMs
  for (;;) {
    const text = String(await link.call(['INFO', 'everything'], 'reading INFO'))
    const info = new Map(text.split(/\r?\n/).map((line) => line.split(':', 2) as [string, string]))
    if (info.get('loading') !== '1') return info
    if (performance.now() > end)
      throw new MillraceError('UNAVAILABLE', 'redis: the server is still loading its data: try again later', {
        engine: 'redis',
      })
    await sleep(LOADING_MS)
  }
}

async function factsOf(link: Pick<RedisLink, 'call'>): Promise<ServerFacts> {
  const info = await infoOf(link)
  const config = await settingsOf(link)
  // Valkey and others report the version of Redis whose features they have.
  const shownVersion = info.get('redis_version') ?? '0.0'
  const [major = 0, minor = 0] = shownVersion.split('.').map(Number)
  const policy = config?.get('maxmemory-policy') ?? info.get('maxmemory_policy') ?? null
  const limited = (info.get('maxmemory') ?? '0') !== '0'
  return {
    version: [major, minor],
    shownVersion,
    appendOnly: info.get('aof_enabled') === '1',
    fsync: config?.get('appendfsync') ?? null,
    evicts: limited && policy !== null && policy !== 'noeviction' ? policy : null,
  }
}

/** Null if the user may not read them. */
async function settingsOf(link: Pick<RedisLink, 'call'>): Promise<ReadonlyMap<string, string> | null> {
  const found = new Map<string, string>()
  for (const name of ['appendfsync', 'maxmemory-policy']) {
    try {
      const [, value] = (await link.call(['CONFIG', 'GET', name], 'reading settings')) as string[]
      if (value !== undefined) found.set(name, value)
    } catch (error) {
      const { code, details } = error as MillraceError
      if (code === 'UNAVAILABLE' || code === 'CLOSED') throw error
      if (!/NOPERM|unknown command|unknown subcommand/i.test(String(details['answer']))) throw error
      return null
    }
  }
  return found
}

function compare(a: readonly [number, number], b: readonly [number, number]): number {
  return a[0] - b[0] || a[1] - b[1]
}
