/**
 * What the URL of a Postgres says: the server, credentials, and options.
 *
 *     postgres://user:password@host:5432/database?schema=shop
 *     postgresql://host/database?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem
 */
import { readFileSync } from 'node:fs'
import { MillraceError } from '../../base/errors.ts'
import { credentialsIn } from '../../broker/url-secret.ts'

export const POSTGRES_OPTIONS = [
  'schema',
  'partitions',
  'durable',
  'connections',
  'tables',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
] as const

export type SslMode = 'disable' | 'require' | 'verify-full'

export interface PostgresSettings {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string | null
  readonly password: string | null
  /** The contents of the files that the URL names; null without TLS. */
  readonly tls: {
    readonly rejectUnauthorized: boolean
    readonly ca?: Buffer
    readonly cert?: Buffer
    readonly key?: Buffer
  } | null
  /** The schema of all tables. */
  readonly schema: string
  /** Partitions of channels that this connection creates. */
  readonly partitions: number
  /** `unsynced` accepts a server that answers before it syncs. */
  readonly durable: 'synced' | 'unsynced'
  /** The largest number of connections, without the one that listens. */
  readonly connections: number
  /** Whether the tables are made when the schema has none, or must be there. */
  readonly tables: 'make' | 'expect'
}

const FORM = /^postgres(?:ql)?:\/\/(?:([^@/?]*)@)?([^/?@]*)(?:\/([^?]*))?(?:\?(.*))?$/
const SCHEMA = /^[a-z_][a-z0-9_]{0,39}$/

/** The settings in a `postgres:` or `postgresql:` URL. @throws INVALID_OPTION when the URL is wrong */
export function postgresSettings(url: string): PostgresSettings {
  const match = FORM.exec(url)
  if (match === null) throw invalid('is not of the form postgres://user:password@host:port/database?options')
  const [, credentials = '', hostPart = '', path = '', query = ''] = match
  if (path.includes('@')) throw invalid('has "@" behind "/": in a password, "/" is written %2F')
  const options = new URLSearchParams(query)
  for (const name of options.keys()) {
    if (!POSTGRES_OPTIONS.some((known) => known === name))
      throw invalid(`has an unknown option "${name}"; the options are ${POSTGRES_OPTIONS.join(', ')}`)
  }
  const schema = options.get('schema') ?? 'millrace'
  if (!SCHEMA.test(schema) || schema.startsWith('pg_'))
    throw invalid(
      `has the schema "${schema}": use 1 to 40 small letters, digits and "_", not beginning with a digit or pg_`,
    )
  const { user, password } = credentialsIn(credentials, 'the Postgres URL')
  return {
    ...hostOf(hostPart === '' ? '127.0.0.1' : hostPart),
    database: path === '' ? 'postgres' : decoded(path),
    user: user === '' ? null : user,
    password: password ?? null,
    tls: tlsOf(options),
    schema,
    partitions: whole(options.get('partitions') ?? '16', 'partitions', 1, 256),
    durable: choice(options, 'durable', ['synced', 'unsynced'] as const),
    connections: whole(options.get('connections') ?? '8', 'connections', 2, 100),
    tables: choice(options, 'tables', ['make', 'expect'] as const),
  }
}

/** The URL for people, without credentials. */
export function shownUrl({ host, port, database }: PostgresSettings): string {
  return `postgres://${host.includes(':') ? `[${host}]` : host}:${port}/${database}`
}

function tlsOf(options: URLSearchParams): PostgresSettings['tls'] {
  const mode: SslMode = choice(options, 'sslmode', ['disable', 'require', 'verify-full'] as const)
  const files: { ca?: Buffer; cert?: Buffer; key?: Buffer } = {}
  for (const [name, as] of [
    ['sslrootcert', 'ca'],
    ['sslcert', 'cert'],
    ['sslkey', 'key'],
  ] as const) {
    const path = options.get(name)
    if (path === null) continue
    if (mode === 'disable') throw invalid(`has the option "${name}", which needs TLS: add sslmode=verify-full`)
    try {
      files[as] = readFileSync(path)
    } catch (cause) {
      const details = { engine: 'postgres', option: name, path }
      const message = `the Postgres URL names "${path}" for ${name}, which cannot be read`
      throw new MillraceError('INVALID_OPTION', message, details, { cause })
    }
  }
  if ((files.cert === undefined) !== (files.key === undefined))
    throw invalid('has one of "sslcert" and "sslkey": a client certificate needs both')
  return mode === 'disable' ? null : { rejectUnauthorized: mode === 'verify-full', ...files }
}

function invalid(what: string): MillraceError {
  return new MillraceError('INVALID_OPTION', `the Postgres URL ${what}`, { engine: 'postgres' })
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    throw invalid('has a database name that is not percent-encoded')
  }
}

function hostOf(text: string): Pick<PostgresSettings, 'host' | 'port'> {
  if (text.includes(','))
    throw invalid('names several hosts: name the one that takes writes, or a proxy in front of all of them')
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d+))?$/.exec(text)
  if (match?.[1] === undefined) throw invalid(`has a host "${text}": use host or host:port`)
  return {
    host: match[1].replace(/^\[|\]$/g, ''),
    port: match[2] === undefined ? 5432 : whole(match[2], 'the port', 1, 65_535),
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
