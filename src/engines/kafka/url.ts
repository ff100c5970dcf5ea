/**
 * What a `kafka:` URL says: `kafka://user:password@host:9092,host:9092?option=value`.
 */
import { readFileSync } from 'node:fs'
import { MillraceError } from '../../base/errors.ts'
import { durationMs } from '../../base/units.ts'
import { credentialsIn } from '../../broker/url-secret.ts'
import type { Address } from './client.ts'
import type { Durability } from './topic-plans.ts'

const PORT = 9092
const FORM = /^kafka:\/\/(?:([^@/?#]*)@)?([^/?#]+)\/?(?:\?([^#]*))?$/
const OPTIONS = [
  'prefix',
  'partitions',
  'durable',
  'replicas',
  'tls',
  'ca',
  'cert',
  'key',
  'mechanism',
  'patience',
] as const
const MECHANISMS: Readonly<Record<string, string>> = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
  oauthbearer: 'OAUTHBEARER',
}
const PREFIX = /^[A-Za-z0-9._-]{0,100}$/
const PARTITIONS_MAX = 256

export interface KafkaTarget {
  readonly seeds: readonly Address[]
  /** TLS and SASL, as the client library takes them. */
  readonly security: object
  readonly prefix: string
  readonly partitions: number
  readonly durability: Durability
  /** −1: the brokers' default. */
  readonly replicas: number
  readonly patienceMs: number
}

type Option = (typeof OPTIONS)[number]

function refuse(option: string, message: string): MillraceError {
  return new MillraceError('INVALID_OPTION', `kafka: ${message}`, { option })
}

/** The settings in a `kafka:` URL. @throws INVALID_OPTION when the URL is wrong */
export function parseKafkaUrl(url: string, token: string | undefined): KafkaTarget {
  const parts = FORM.exec(url)
  if (parts === null) throw refuse('url', 'the URL is not of the form kafka://host:port?option=value')
  const [, credentials, hosts = '', query = ''] = parts
  const options = new URLSearchParams(query)
  for (const name of options.keys()) {
    if (!OPTIONS.includes(name as Option))
      throw refuse(name, `the URL has an unknown option "${name}"; the options are ${OPTIONS.join(', ')}`)
  }
  const option = (name: Option): string | null => options.get(name)
  const durability = oneOf('durable', option('durable') ?? 'synced', ['synced', 'replicated'] as const)
  const prefix = option('prefix') ?? ''
  if (!PREFIX.test(prefix)) throw refuse('prefix', 'prefix is letters, digits, ".", "_" and "-", at most 100 of them')
  return {
    seeds: hosts.split(',').map(addressOf),
    security: { ...tlsOf(option), ...saslOf(credentials, option('mechanism'), token) },
    prefix,
    partitions: whole('partitions', option('partitions') ?? '16', PARTITIONS_MAX),
    durability,
    replicas:
      option('replicas') === null
        ? durability === 'replicated'
          ? 3
          : -1
        : whole('replicas', option('replicas') as string, 100),
    patienceMs: durationMs(option('patience') ?? '30s', 'patience'),
  }
}

function addressOf(text: string): Address {
  if (text.includes('@'))
    throw refuse(
      'url',
      'the URL has an "@" that does not separate credentials and hosts: in a password write it as %40',
    )
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d+))?$/.exec(text.trim())
  const port = Number(parts?.[2] ?? PORT)
  if (parts === null || port < 1 || port > 65_535) throw refuse('url', `"${text}" is not host:port`)
  return { host: (parts[1] as string).replace(/^\[|\]$/g, ''), port }
}

function oneOf<const T extends string>(option: string, value: string, values: readonly T[]): T {
  if (values.includes(value as T)) return value as T
  throw refuse(option, `${option} is ${values.join(' or ')}; it is "${value}"`)
}

function whole(option: string, value: string, max: number): number {
  const number = Number(value)
  if (Number.isInteger(number) && number >= 1 && number <= max) return number
  throw refuse(option, `${option} is a whole number from 1 to ${max}; it is "${value}"`)
}

function tlsOf(option: (name: Option) => string | null): object {
  const files = (['ca', 'cert', 'key'] as const).flatMap((name) => {
    const path = option(name)
    return path === null ? [] : [[name, fileOf(name, path)] as const]
  })
  const wanted =
    oneOf('tls', option('tls') ?? (files.length > 0 ? 'true' : 'false'), ['true', 'false'] as const) === 'true'
  return wanted ? { tls: Object.fromEntries(files), tlsServerName: true } : {}
}

function fileOf(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw refuse(option, `${option} names the file ${path}, which cannot be read: ${(cause as Error).message}`)
  }
}

function saslOf(credentials: string | undefined, mechanism: string | null, token: string | undefined): object {
  if (credentials === undefined && token === undefined && mechanism === null) return {}
  const name = mechanism ?? (token === undefined ? 'plain' : 'oauthbearer')
  const known = MECHANISMS[name]
  if (known === undefined)
    throw refuse('mechanism', `mechanism is ${Object.keys(MECHANISMS).join(', ')}; it is "${name}"`)
  if (name === 'oauthbearer') {
    if (token === undefined)
      throw refuse('mechanism', 'oauthbearer needs a token: give it as the option token of connect')
    return { sasl: { mechanism: known, token } }
  }
  const { user, password = '' } = credentialsIn(credentials ?? '', 'kafka: the URL')
  if (user === '') throw refuse('mechanism', `${name} needs a user and a password: kafka://user:password@host`)
  return { sasl: { mechanism: known, username: user, password } }
}
