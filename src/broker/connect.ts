/** `connect(url)`: which engine a URL names, and a broker over it. */
import { MillraceError } from '../base/errors.ts'
import { shown, withoutSecrets } from '../base/shown.ts'
import { namedMessageOf, watchAnswer } from '../base/thrown.ts'
import { knownOptions } from '../base/units.ts'
import { checkAttributes } from '../event/event.ts'
import type { Broker } from './broker.ts'
import { ConnectedBroker } from './connected-broker.ts'
import type { Alarm } from './description.ts'
import type { Engine } from './engine.ts'
import type { SchedulesLoader } from './later-schedules.ts'
import { Log } from './log.ts'
import { type LogFields, type Logger, sinkOf } from './logger.ts'
import type { Telemetry } from './telemetry.ts'

export interface ConnectOptions {
  /** The CloudEvents `source` of events that have none of their own. @default '/millrace' */
  readonly source?: string
  /**
   * `file:` only: read a data directory, with or without a running owner, and change nothing. `read`, `describe` and
   * `deadLetters().list()` work. @default false
   */
  readonly readOnly?: boolean
  /**
   * The credentials for a server: `ws:` and `wss:` only. They may also be in the URL, as in `wss://token@host`.
   * @default none
   */
  readonly token?: string
  /** Called when something needs a person: the disk is full, the store failed. `alarms()` lists them too. */
  readonly onAlarm?: (alarm: Alarm) => void
  /**
   * Where log lines for the person on call go: failed attempts, retries, dead letters, stalls, takeovers and alarms.
   * Similar lines are counted, and written as one every 10 s. An object with the methods `info`, `warn` and `error`, as
   * pino and the console have; `false` writes nothing.
   * @default a line on standard error for each; `false` in a test run (NODE_ENV is `test`, or Vitest, Jest or node:test
   * runs)
   */
  readonly logger?: Logger | false
  /** Spans and metrics: `openTelemetry(api)` of `millrace/otel`. @default none, which costs nothing */
  readonly telemetry?: Telemetry
}

/** The options that an engine is opened with. */
export interface OpenOptions extends ConnectOptions {
  /** Called for events that need no action, such as a takeover by another owner. */
  readonly notice?: (message: string, fields: LogFields) => void
}

/** Opens the engine of a URL scheme. Its module is loaded when it is called. */
export type EngineOpener = (url: string, options: OpenOptions) => Promise<Engine>

/** Options that only some engines accept, with the type of each. */
const OF_SOME = { readOnly: 'boolean', token: 'string' } as const

/** The engine of a URL scheme, and which of those options it accepts. */
export interface EngineEntry {
  readonly open: EngineOpener
  readonly takes?: readonly (keyof typeof OF_SOME)[]
}

/** Makes a `connect` for these engines, by the schemes of their URLs. `schedules` loads the room of schedules. */
export function connectWith(
  engines: Readonly<Record<string, EngineEntry>>,
  schedules?: SchedulesLoader,
): (url: string | URL, options?: ConnectOptions) => Promise<Broker> {
  return async (given, options = {}) => {
    checkOptions(options)
    const url = given instanceof URL ? given.href : given
    const written = typeof url === 'string' ? /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1] : undefined
    const scheme = written?.toLowerCase() ?? ''
    const engine = Object.hasOwn(engines, scheme) ? engines[scheme] : undefined
    if (engine === undefined) throw unknownEngine(url, Object.keys(engines))
    for (const [name] of Object.entries(OF_SOME) as [keyof typeof OF_SOME, string][]) {
      if (options[name] === undefined || options[name] === false || engine.takes?.includes(name) === true) continue
      const those = Object.keys(engines).filter((each) => engines[each]?.takes?.includes(name))
      throw new MillraceError(
        'INVALID_OPTION',
        `connect: the option "${name}" has no effect for ${scheme}: URLs; it is for ${those.join(': and ')}:. Leave it out`,
        {
          option: name,
          scheme,
        },
      )
    }
    const log = new Log(sinkOf(options.logger))
    const onAlarm = toldOf(log, options.onAlarm)
    const notice = (message: string, fields: LogFields): void => log.write('warn', message, fields)
    const opened = await opening(engine.open(`${scheme}${url.slice(scheme.length)}`, { ...options, onAlarm, notice }))
    const { source = '/millrace', telemetry } = options
    return new ConnectedBroker(opened, { source, random: Math.random, onAlarm, log, telemetry, schedules })
  }
}

/** Writes an alarm to the log and passes it to the application. An error of the application's function is logged. */
function toldOf(log: Log, onAlarm: ConnectOptions['onAlarm']): (alarm: Alarm) => void {
  return (alarm) => {
    log.write('error', alarm.message, { alarm: alarm.code })
    const failed = (error: unknown): void =>
      log.write('error', 'onAlarm failed', { alarm: alarm.code, error: namedMessageOf(error) })
    try {
      watchAnswer(onAlarm?.(alarm), failed)
    } catch (error) {
      failed(error)
    }
  }
}

function checkOptions(options: ConnectOptions): void {
  knownOptions(options, ['source', 'onAlarm', 'readOnly', 'token', 'logger', 'telemetry'], 'connect')
  for (const [option, type] of Object.entries({ ...OF_SOME, source: 'string', onAlarm: 'function' })) {
    const value = options[option as keyof ConnectOptions]
    if (value === undefined || typeof value === type) continue
    throw new MillraceError('INVALID_OPTION', `connect: "${option}" must be a ${type}; it is ${shown(value)}`, {
      option,
    })
  }
  if (
    options.telemetry !== undefined &&
    typeof (options.telemetry as Partial<Telemetry> | null)?.observe !== 'function'
  )
    throw new MillraceError(
      'INVALID_OPTION',
      `connect: "telemetry" must be what openTelemetry() of millrace/otel answers; it is ${shown(options.telemetry)}`,
      { option: 'telemetry' },
    )
  if (options.source !== undefined) checkAttributes({ source: options.source }, 'of connect')
}

/** The modules of an engine are files, too: a process that has reached its limit of open files cannot load them. */
async function opening(engine: Promise<Engine>): Promise<Engine> {
  try {
    return await engine
  } catch (cause) {
    const errno = (cause as { readonly code?: unknown } | null)?.code
    if (errno !== 'EMFILE' && errno !== 'ENFILE') throw cause
    throw new MillraceError(
      'TOO_MANY_FILES',
      `connect: too many files are open (${errno}). Close some, or raise the limit (ulimit -n)`,
      { errno },
      { cause },
    )
  }
}

function unknownEngine(given: unknown, schemes: readonly string[]): MillraceError {
  const known = schemes.map((name) => `${name}:`)
  const url = shown(typeof given === 'string' ? withoutSecrets(given) : given)
  return new MillraceError('UNKNOWN_ENGINE', `${url} names no engine: use ${known.join(' or ')}, as in file:./data`, {
    url,
    engines: known,
  })
}
