/**
 * What the URL of a Redis says: servers, credentials, and options.
 *
 *     redis://user:password@host:6379/0?prefix=shop          one server; rediss: is over TLS
 *     redis://a:26379,b:26379,c:26379/0?sentinel=mymaster    a primary that Sentinels know
 *     rediss://host:6380?ca=/ca.pem&cert=/c.pem&key=/k.pem   TLS with a private authority, and a client certificate
 *     redis://a:6379,b:6379?cluster=true                     a cluster: all of one prefix is on one of its shards
 */
import { readFileSync } from 'node:fs'
import { MillraceError } from '../../base/errors.ts'
import { credentialsIn } from '../../broker/url-secret.ts'

export const REDIS_OPTIONS = [
  'prefix',
  'partitions',
  'durable',
  'replicas',
  'sentinel',
  'sentinelPassword',
  'cluster',
  'ca',
  'cert',
  'key',
] as const

export type Durable = 'always' | 'everysec' | 'memory'

export interface RedisSettings {
  /** The contents of the files that the URL names; null without TLS. */
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | null
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  readonly username: string | null
  readonly password: string | null
  readonly db: number
  /** The prefix of every key, in braces. */
  readonly prefix: string
  /** Partitions of channels that this connection creates. */
  readonly partitions: number
  /** The weakest meaning of an acknowledgement: on disk, on disk within two seconds, or in the server's memory. */
  readonly durable: Durable
  /** The number of replicas that must have a write before it is acknowledged. */
  readonly replicas: number
  readonly topology: 'one' | 'sentinel' | 'cluster'
  /** The name of the primary at the Sentinels. */
  readonly primary: string
  readonly sentinelPassword: string | null
}

const FORM = /^(rediss?):\/\/(?:([^@/?]*)@)?([^/?@]*)(?:\/([^?]*))?(?:\?(.*))?$/
const PREFIX = /^[A-Za-z0-9_.-]{1,100}$/

/** The settings in a `redis:` or `rediss:` URL. @throws INVALID_OPTION when the URL is wrong */
export function redisSettings(url: string): RedisSettings {
  const match = FORM.exec(url)
  if (match === null) throw invalid('is not of the form redis://user:password@host:port/db?options')
  const [, scheme, credentials = '', hosts = '', path = '', query = ''] = match
  if (path.includes('@')) throw invalid('has "@" behind "/": in a password, "/" is written %2F')
  const options = new URLSearchParams(query)
  for (const name of options.keys()) {
    if (!REDIS_OPTIONS.some((known) => known === name))
      throw invalid(`has an unknown option "${name}"; the options are ${REDIS_OPTIONS.join(', ')}`)
  }
  const { user, password } = credentialsIn(credentials, 'the Redis URL')
  const sentinel = options.get('sentinel')
  const cluster = choice(options, 'cluster', ['false', 'true'] as const) === 'true'
  if (sentinel !== null && cluster) throw invalid('has both sentinel and cluster: use one of them')
  const db = whole(path === '' ? '0' : path, 'the database (after the slash)', 0, 100_000)
  if (cluster && db !== 0) throw invalid('names a database, and a cluster has only one')
  const prefix = options.get('prefix') ?? 'millrace'
  if (!PREFIX.test(prefix)) throw invalid(`has the prefix "${prefix}": use 1 to 100 letters, digits, "_", "." and "-"`)
  const port = sentinel === null ? 6379 : 26_379
  return {
    tls: tlsOf(scheme === 'rediss', options),
    hosts: (hosts === '' ? '127.0.0.1' : hosts).split(',').map((host) => hostOf(host, port)),
    username: password === undefined || user === '' ? null : user,
    password: (password ?? user) === '' ? null : (password ?? user),
    db,
    prefix,
    partitions: whole(options.get('partitions') ?? '16', 'partitions', 1, 256),
    durable: choice(options, 'durable', ['always', 'everysec', 'memory'] as const),
    replicas: whole(options.get('replicas') ?? '0', 'replicas', 0, 100),
    topology: sentinel !== null ? 'sentinel' : cluster ? 'cluster' : 'one',
    primary: sentinel ?? '',
    sentinelPassword: options.get('sentinelPassword'),
  }
}

function tlsOf(secure: boolean, options: URLSearchParams): RedisSettings['tls'] {
  const files: { ca?: Buffer; cert?: Buffer; key?: Buffer } = {}
  for (const name of ['ca', 'cert', 'key'] as const) {
    const path = options.get(name)
    if (path === null) continue
    if (!secure) throw invalid(`has the option "${name}", which needs TLS: begin the URL with rediss:`)
    try {
      files[name] = readFileSync(path)
    } catch (cause) {
      throw new MillraceError(
        'INVALID_OPTION',
        `the Redis URL names "${path}" for ${name}, which cannot be read`,
        { engine: 'redis', option: name, path },
        { cause },
      )
    }
  }
  if ((files.cert === undefined) !== (files.key === undefined))
    throw invalid('has one of "cert" and "key": a client certificate needs both')
  return secure ? files : null
}

/** The URL for people, without credentials. */
export function shownUrl({ tls, hosts, db }: RedisSettings): string {
  return `${tls === null ? 'redis' : 'rediss'}://${hosts.map(({ host, port }) => `${host}:${port}`).join(',')}/${db}`
}

function invalid(what: string): MillraceError {
  return new MillraceError('INVALID_OPTION', `the Redis URL ${what}`, { engine: 'redis' })
}

function hostOf(text: string, port: number): RedisSettings['hosts'][number] {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d+))?$/.exec(text)
  if (match?.[1] === undefined)
    throw invalid(`has a host "${text}": use host or host:port, several with a comma between`)
  return {
    host: match[1].replace(/^\[|\]$/g, ''),
    port: match[2] === undefined ? port : whole(match[2], 'the port', 1, 65_535),
  }
}

function whole(value: string, of: string, min: number, max: number): number {
  if (/^\d{1,9}$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value)
  throw invalid(`has "${value}" for ${of}: use a whole number from ${min} to ${max}`)
}

function choice<const Choices extends readonly [string, ...string[]]>(
  options: URLSearchParams,
  name: string,
  choices: Choices,
): Choices[number] {
  const value = options.get(name) ?? choices[0]
  if (choices.includes(value)) return value
  throw invalid(`has ${name}=${value}: use ${choices.join(' or ')}`)
}
