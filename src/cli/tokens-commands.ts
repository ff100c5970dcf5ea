/** `millrace tokens`: the tokens of a served data directory and their permissions. */
import { MillraceError } from '../base/errors.ts'
import { durationMs } from '../base/units.ts'
import { ACTIONS, type Action, type Permissions } from '../gateway/access/permissions.ts'
import { addToken, readTokens, removeTokens, type TokenEntry, tokenFileOf } from '../gateway/access/token-file.ts'
import { complete, print, printJson, table } from './output.ts'
import { countOf, directoryOf, type TargetOptions } from './target.ts'

export interface TokensOptions extends TargetOptions {
  readonly file?: string
}

export interface TokensAddOptions extends TokensOptions, Partial<Record<Action, readonly string[]>> {
  readonly expires?: string
  readonly rate?: string
  readonly open?: string
}

function fileOf(options: TokensOptions): string {
  return options.file ?? tokenFileOf(directoryOf(options))
}

export async function tokensAddCommand(name: string, options: TokensAddOptions): Promise<void> {
  const permissions: Permissions = Object.fromEntries(
    ACTIONS.flatMap((action) => (options[action] === undefined ? [] : [[action, options[action]]])),
  )
  const limits = {
    ...(options.rate !== undefined && { requestsPerSecond: countOf('rate', options.rate, 1) }),
    ...(options.open !== undefined && { open: countOf('open', options.open, 1) }),
  }
  const { token, entry } = addToken(fileOf(options), {
    name,
    permissions,
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(options.expires !== undefined && { expiresAtMs: Date.now() + durationMs(options.expires, 'expires') }),
  })
  if (options.json === true) printJson({ id: entry.id, name, token })
  else print(token)
  complete(
    `token ${entry.id} (${name}); it is shown only this once, and stored only as a hash. A running server asks for it within seconds`,
    options,
  )
}

export async function tokensListCommand(options: TokensOptions): Promise<void> {
  const found = readTokens(fileOf(options))
  if (options.json === true) printJson(found.map(({ sha256: _, ...shown }) => shown))
  else print(table(['id', 'name', 'permissions', 'created', 'expires'], found.map(rowOf)))
  complete(`${found.length} token(s)`, options)
}

export async function tokensRemoveCommand(idOrName: string, options: TokensOptions): Promise<void> {
  const removed = removeTokens(fileOf(options), idOrName)
  if (removed.length === 0)
    throw new MillraceError('INVALID_OPTION', `there is no token "${idOrName}": millrace tokens list shows them`, {
      token: idOrName,
    })
  if (options.json === true) printJson({ removed: removed.map(({ id }) => id) })
  complete(`removed ${removed.map(({ id, name }) => `${id} (${name})`).join(', ')}`, options)
}

function rowOf({ id, name, permissions, createdAt, expiresAt }: TokenEntry): string[] {
  const granted = ACTIONS.flatMap((action) =>
    permissions[action] === undefined ? [] : [`${action}:${permissions[action].join(',')}`],
  )
  return [id, name, granted.join(' '), createdAt, expiresAt ?? 'never']
}
