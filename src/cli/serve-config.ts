/**
 * The configuration file of `millrace serve`: for secrets, which must not be on the command line, and for settings that
 * are too long for it.
 *
 * A secret is written as `env:NAME` or `file:PATH` and read when the server starts. It may also be in the file itself,
 * if only the owner can read the file.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { MillraceError } from '../base/errors.ts'
import { knownOptions } from '../base/units.ts'
import type { PushOptions } from '../gateway/push/push-options.ts'
import type { ServeOptions } from '../gateway/serve-gateway.ts'
import type { WebhookOptions } from '../gateway/webhooks/webhook-options.ts'
import { yamlValues } from '../rules/folder/yaml-text.ts'
import type { StartRulesOptions } from '../rules/start-rules.ts'

export interface ServeConfig {
  readonly gateway: Pick<ServeOptions, 'webhooks' | 'push' | 'hosts'>
  readonly rules: Pick<StartRulesOptions, 'folder' | 'http'>
}

type Members = Readonly<Record<string, unknown>>

function refuse(path: string, why: string, cause?: unknown): never {
  throw new MillraceError('INVALID_OPTION', `${path}: ${why}`, { option: 'config', path }, { cause })
}

/**
 * Reads the configuration file of `millrace serve`.
 * @throws INVALID_OPTION when it cannot be read, or something in it is wrong
 */
export function readServeConfig(path: string): ServeConfig {
  const config = membersOf(parsed(path), path)
  known(config, ['webhooks', 'push', 'rules', 'hosts'], path)
  const { webhooks, push, rules = {}, hosts } = config
  return {
    gateway: {
      ...(webhooks !== undefined && { webhooks: webhooksOf(membersOf(webhooks, `${path}: webhooks`), path) }),
      // The gateway checks the rest.
      ...(push !== undefined && { push: membersOf(push, `${path}: push`) as PushOptions }),
      ...(hosts !== undefined && { hosts: textsOf(hosts, `${path}: hosts`) }),
    },
    rules: rulesOf(membersOf(rules, `${path}: rules`), path),
  }
}

function rulesOf(rules: Members, path: string): ServeConfig['rules'] {
  known(rules, ['folder', 'allow'], `${path}: rules`)
  const { folder, allow } = rules
  if (folder !== undefined && typeof folder !== 'string')
    return refuse(`${path}: rules.folder`, 'the path of a folder is needed')
  return {
    ...(folder !== undefined && { folder: { path: resolve(dirname(path), folder), label: folder } }),
    ...(allow !== undefined && { http: { allow: textsOf(allow, `${path}: rules.allow`) } }),
  }
}

function parsed(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    return refuse(path, `it cannot be read: ${(cause as Error).message}`, cause)
  }
  try {
    const values = yamlValues(text, 100)
    if (values.length > 1) throw new Error('it has several documents')
    return values[0]
  } catch (cause) {
    return refuse(path, `it is neither YAML nor JSON: ${(cause as Error).message}`, cause)
  }
}

function membersOf(value: unknown, where: string): Members {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members
  return refuse(where, 'an object is needed')
}

function known(members: Members, names: readonly string[], where: string): void {
  knownOptions(members, names, where)
}

function textsOf(value: unknown, where: string): readonly string[] {
  const list: unknown = Array.isArray(value) ? value : [value]
  return (list as readonly unknown[]).every((each) => typeof each === 'string')
    ? (list as readonly string[])
    : refuse(where, 'a text or a list of texts is needed')
}

function webhooksOf(webhooks: Members, path: string): Readonly<Record<string, WebhookOptions>> {
  return Object.fromEntries(
    Object.entries(webhooks).map(([name, each]) => {
      const where = `${path}: webhooks.${name}`
      const options = membersOf(each, where)
      const secrets = textsOf(options['secret'] ?? [], `${where}.secret`).map((secret) =>
        secretOf(secret, path, `${where}.secret`),
      )
      // The gateway checks the rest.
      return [name, { ...options, secret: secrets } as unknown as WebhookOptions]
    }),
  )
}

/** The value of `env:NAME` or `file:PATH`. Paths are relative to the configuration's folder. */
function secretOf(written: string, path: string, where: string): string {
  if (written.startsWith('env:')) {
    const name = written.slice('env:'.length)
    const value = process.env[name]
    return value === undefined || value === '' ? refuse(where, `the environment has no ${name}`) : value
  }
  if (!written.startsWith('file:')) return written
  const file = resolve(dirname(path), written.slice('file:'.length))
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    return refuse(where, `${file} cannot be read: ${(cause as Error).message}`, cause)
  }
}
