/**
 * What a `nats:` or `tls:` URL says: servers, credentials, and options. Credentials that the URL lacks are taken from
 * the environment, under the names that the `nats` command line uses.
 *
 * An unknown option is refused, and no error contains a secret.
 */
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from '@nats-io/transport-node'
import { MillraceError } from '../../base/errors.ts'
import { credentialsIn } from '../../broker/url-secret.ts'

/**
 * What should be known about the servers' syncing: `check` (with an alarm if it cannot be known), a proof, the user's
 * word, or less.
 */
export type Durability = 'check' | 'proved' | 'declared' | 'weaker'

export interface NatsTarget {
  /** The options of the library, without the authenticators, which need the library itself. */
  readonly connection: ConnectionOptions
  /** Contents of a credentials file, and of a file with the seed of an nkey. */
  readonly creds: Uint8Array | null
  readonly seed: Uint8Array | null
  /** The prefix of the names of all streams and subjects. */
  readonly prefix: string
  /** The number of copies of every stream. */
  readonly replicas: number
  /** Partitions of channels that this connection creates; null: the engine's default. */
  readonly partitions: number | null
  readonly durable: Durability
  /** Monitoring addresses (`http://host:8222`) of the servers, which prove their settings. */
  readonly monitor: readonly string[]
  /** How events are written: as JSON, or with their attributes in headers. */
  readonly content: 'structured' | 'binary'
}

export const PREFIX_DEFAULT = 'millrace'
const FORM = /^(?<scheme>nats|tls):\/\/(?<hosts>[^?#]+?)\/?(?:\?(?<query>[^#]*))?$/
const ADDRESS = /^(?:\[[0-9a-fA-F:.]+\]|[^\s/:]+)(?::\d+)?$/
const PREFIX = /^[A-Za-z0-9_-]{1,32}$/
const DURABLE: readonly Durability[] = ['check', 'proved', 'declared', 'weaker']
const OPTIONS = [
  ...['user', 'pass', 'token', 'creds', 'nkey', 'ca', 'cert', 'key', 'tlsfirst', 'name'],
  ...['prefix', 'replicas', 'partitions', 'durable', 'monitor', 'content'],
]

type Environment = Readonly<Record<string, string | undefined>>

function invalid(option: string, message: string): MillraceError {
  return new MillraceError('INVALID_OPTION', `nats: ${message}`, { option })
}

/** The settings in a `nats:` or `tls:` URL. @throws INVALID_OPTION when the URL is wrong */
export function parseNatsUrl(url: string, environment: Environment = process.env): NatsTarget {
  const { scheme = '', hosts = '', query = '' } = FORM.exec(url)?.groups ?? {}
  if (scheme === '')
    throw invalid(
      'url',
      'the URL must be nats://host:port or tls://host:port, with several hosts joined by commas and options behind "?"',
    )
  const options = optionsOf(query)
  const { servers, user, pass } = serversOf(hosts)
  const own = { user: user ?? options.get('user'), pass: pass ?? options.get('pass'), token: options.get('token') }
  const files = { creds: options.get('creds'), nkey: options.get('nkey') }
  const said = [own.user, own.token, files.creds, files.nkey].some((each) => each !== undefined)
  const given = said ? { ...own, ...files } : fromEnvironment(environment)
  // A single name before the host is a token, as everywhere in NATS.
  const alone = user !== undefined && pass === undefined && options.get('pass') === undefined
  return {
    connection: {
      servers,
      ...(alone ? { token: user } : credentials(given)),
      ...tlsOf(scheme, options, environment),
      ...(options.has('name') && { name: options.get('name') as string }),
    },
    creds: fileOf('creds', given.creds),
    seed: fileOf('nkey', given.nkey),
    prefix: prefixOf(options.get('prefix') ?? PREFIX_DEFAULT),
    replicas: numberOf('replicas', options.get('replicas') ?? '1', 5),
    partitions: options.has('partitions') ? numberOf('partitions', options.get('partitions') as string, 1024) : null,
    durable: oneOf('durable', options.get('durable') ?? 'check', DURABLE),
    monitor: (options.get('monitor') ?? '').split(',').filter((each) => each !== ''),
    content: oneOf('content', options.get('content') ?? 'structured', ['structured', 'binary'] as const),
  }
}

function optionsOf(query: string): Map<string, string> {
  const options = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(query)) {
    if (!OPTIONS.includes(name))
      throw invalid(name, `the URL has an unknown option "${name}"; the options are ${OPTIONS.join(', ')}`)
    options.set(name, value)
  }
  return options
}

/** `user:pass@host:port` or `host:port`, joined by commas; each may repeat the scheme. */
function serversOf(hosts: string): {
  readonly servers: string[]
  readonly user: string | undefined
  readonly pass: string | undefined
} {
  let user: string | undefined
  let pass: string | undefined
  const servers = hosts.split(',').map((text) => {
    const host = text.replace(/^(?:nats|tls):\/\//, '')
    const at = host.lastIndexOf('@')
    if (at >= 0) {
      const given = credentialsIn(host.slice(0, at), 'nats: the URL')
      user ??= given.user
      pass ??= given.password
    }
    const address = host.slice(at + 1)
    if (!ADDRESS.test(address)) throw invalid('url', 'a server in the URL is not a host or host:port')
    return address
  })
  return { servers, user, pass }
}

interface Given {
  readonly user: string | undefined
  readonly pass: string | undefined
  readonly token: string | undefined
  readonly creds: string | undefined
  readonly nkey: string | undefined
}

function fromEnvironment(environment: Environment): Given {
  return {
    user: environment['NATS_USER'],
    pass: environment['NATS_PASSWORD'],
    token: environment['NATS_TOKEN'],
    creds: environment['NATS_CREDS'],
    nkey: environment['NATS_NKEY'],
  }
}

function credentials({ user, pass, token }: Given): Pick<ConnectionOptions, 'user' | 'pass' | 'token'> {
  return {
    ...(user !== undefined && { user }),
    ...(pass !== undefined && { pass }),
    ...(token !== undefined && { token }),
  }
}

/** `tls:` requires TLS. With `nats:` the server decides. */
function tlsOf(
  scheme: string,
  options: ReadonlyMap<string, string>,
  environment: Environment,
): Pick<ConnectionOptions, 'tls'> {
  const caFile = options.get('ca') ?? environment['NATS_CA']
  const certFile = options.get('cert') ?? environment['NATS_CERT']
  const keyFile = options.get('key') ?? environment['NATS_KEY']
  const first = options.get('tlsfirst')
  if (
    scheme !== 'tls' &&
    caFile === undefined &&
    certFile === undefined &&
    keyFile === undefined &&
    first === undefined
  )
    return {}
  return {
    tls: {
      ...(caFile !== undefined && { caFile }),
      ...(certFile !== undefined && { certFile }),
      ...(keyFile !== undefined && { keyFile }),
      ...(first !== undefined && first !== 'false' && { handshakeFirst: true }),
    },
  }
}

function fileOf(option: string, path: string | undefined): Uint8Array | null {
  if (path === undefined) return null
  try {
    const bytes = readFileSync(path)
    return option === 'nkey' ? Buffer.from(bytes.toString().trim()) : bytes
  } catch (cause) {
    throw new MillraceError(
      'INVALID_OPTION',
      `nats: the file of "${option}", ${path}, cannot be read`,
      { option, path },
      { cause },
    )
  }
}

function prefixOf(prefix: string): string {
  if (!PREFIX.test(prefix)) throw invalid('prefix', 'prefix must be 1 to 32 letters, digits, "_" and "-"')
  return prefix
}

function numberOf(option: string, text: string, max: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw invalid(option, `${option} must be a whole number from 1 to ${max}`)
  return value
}

function oneOf<Value extends string>(option: string, text: string, values: readonly Value[]): Value {
  const found = values.find((value) => value === text)
  if (found === undefined) throw invalid(option, `${option} must be ${values.join(' or ')}`)
  return found
}
