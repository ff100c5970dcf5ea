/** `millrace serve`: a broker over HTTP, for programs on this machine, or for everyone with a token. */
import { existsSync, readFileSync } from 'node:fs'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import type { AccessOptions } from '../gateway/access/access-options.ts'
import { tokenFileOf } from '../gateway/access/token-file.ts'
import { type ServeOptions, serveGateway } from '../gateway/serve-gateway.ts'
import { type Broker, connect } from '../index.ts'
import { rulesOf } from '../rules/rules.ts'
import { type StartRulesOptions, startRules } from '../rules/start-rules.ts'
import { complete, print, printJson } from './output.ts'
import { readServeConfig } from './serve-config.ts'
import { countOf, directoryOf, nameOf, reading, type TargetOptions, urlOf } from './target.ts'

/** How often it looks for the first rule and the first schedule. */
const LOOK_MS = 500

export interface ServeCommandOptions extends TargetOptions {
  readonly port: string
  readonly host: string
  readonly tokens?: string
  readonly jwks?: string
  readonly issuer?: string
  readonly audience?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly cors?: readonly string[]
  readonly config?: string
  readonly history?: string
  readonly traceUrl?: string
}

export async function serveCommand(options: ServeCommandOptions): Promise<void> {
  const config = options.config === undefined ? undefined : readServeConfig(options.config)
  const serving: ServeOptions = {
    console: { path: '/', ...(options.traceUrl !== undefined && { traceUrl: options.traceUrl }) },
    ...config?.gateway,
    port: countOf('port', options.port),
    host: options.host,
    ...accessOf(options),
    ...tlsOf(options),
    ...(options.cors !== undefined && { cors: { origins: options.cors } }),
    ...(options.history !== undefined && { history: historyOf(options.history) }),
  }
  const broker = await connect(urlOf(options))
  try {
    await runRules(broker, { author: 'serve', ...config?.rules })
    await runSchedules(broker)
    const gateway = await serveGateway(broker, serving)
    if (options.json === true)
      printJson({ url: gateway.url, data: nameOf(options), pid: process.pid, notice: gateway.notice })
    else print(`Millrace serves ${nameOf(options)} on ${gateway.url} (${gateway.notice}). Ctrl-C stops it.`)
    await interrupted()
    await gateway.close()
  } finally {
    await broker.close()
  }
  complete('stopped; every acknowledged event is kept', options)
}

/** Start the rules as soon as there is one. A broker that never had rules does not get a channel for them. */
async function runRules(broker: Broker, options: StartRulesOptions): Promise<void> {
  const rules = rulesOf(broker)
  await asSoonAs(
    'rules',
    async () => options.folder !== undefined || (await rules.list()).length > 0,
    () => startRules(broker, options),
  )
}

/** The same for schedules with events as data. */
async function runSchedules({ schedules }: Broker): Promise<void> {
  await asSoonAs(
    'schedules',
    async () => (await schedules.list()).length > 0,
    () => schedules.start(),
  )
}

async function asSoonAs(what: string, there: () => Promise<boolean>, start: () => Promise<unknown>): Promise<void> {
  const look = async (): Promise<void> => {
    if (await there()) await start()
    else later()
  }
  const later = (): void => {
    setTimeout(() => void look().catch(again), LOOK_MS).unref()
  }
  const again = (error: unknown): void => {
    if (isMillraceError(error, 'CLOSED')) return
    process.stderr.write(`! ${what}: ${(error as Error).message}\n`)
    later()
  }
  await look()
}

/** Access control is on as soon as there are tokens or JWT options. */
function accessOf(options: ServeCommandOptions): { readonly access?: AccessOptions } {
  const { tokens, jwks, issuer, audience } = options
  const file =
    tokens ??
    (urlOf(options).startsWith('file:')
      ? { file: tokenFileOf(directoryOf(options)), arrived: () => tellTokens(options) }
      : undefined)
  if (tokens !== undefined && !existsSync(tokens)) {
    throw new MillraceError('INVALID_OPTION', `there is no file ${tokens}: millrace tokens add creates it`, {
      option: 'tokens',
    })
  }
  if (jwks === undefined && (issuer ?? audience) !== undefined) {
    const option = issuer === undefined ? 'audience' : 'issuer'
    throw new MillraceError('INVALID_OPTION', `--${option} means nothing without --jwks`, { option })
  }
  if (jwks !== undefined && (issuer === undefined || audience === undefined)) {
    throw new MillraceError('INVALID_OPTION', '--jwks needs --issuer and --audience', { option: 'jwks' })
  }
  if (file === undefined && jwks === undefined) return {}
  const jwt = jwks === undefined ? {} : { jwt: { jwks, issuer: issuer as string, audience: audience as string } }
  return { access: { ...(file !== undefined && { tokens: file }), ...jwt } }
}

/** For how many channels and consumers figures are kept; `off` for none. @throws INVALID_OPTION */
function historyOf(text: string): Exclude<ServeOptions['history'], undefined> {
  return text === 'off' ? false : { objects: countOf('history', text, 1) }
}

function tellTokens(options: ServeCommandOptions): void {
  const file = tokenFileOf(directoryOf(options))
  process.stderr.write(
    `! ${file} exists now: from now on every request needs a token, and everything that was open without one has ended\n`,
  )
}

function tlsOf({ tlsCert, tlsKey }: ServeCommandOptions): Pick<ServeOptions, 'tls'> {
  if (tlsCert === undefined && tlsKey === undefined) return {}
  if (tlsCert === undefined || tlsKey === undefined)
    throw new MillraceError('INVALID_OPTION', '--tls-cert and --tls-key go together', { option: 'tls-cert' })
  return {
    tls: { cert: reading(tlsCert, (path) => readFileSync(path)), key: reading(tlsKey, (path) => readFileSync(path)) },
  }
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
}
