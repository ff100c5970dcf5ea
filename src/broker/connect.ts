/** `connect(url)`: which engine a URL names, and a broker over it. */
import { MillraceError } from '../base/errors.ts'
import { knownOptions } from '../base/units.ts'
import type { Broker } from './broker.ts'
import { ConnectedBroker } from './connected-broker.ts'
import type { Alarm } from './description.ts'
import type { Engine } from './engine.ts'

export interface ConnectOptions {
  /** The CloudEvents `source` of events that do not say their own. @default '/millrace' */
  readonly source?: string
  /** Look at a data directory beside its owner, or without one, and change nothing: `read`, `describe` and `deadLetters().list()` work. @default false */
  readonly readOnly?: boolean
  /** What a server is shown: `ws:` and `wss:` only. It may also stand in the URL, as in `wss://token@host`. @default none */
  readonly token?: string
  /** Called when something needs a person: the disk is full, the store failed. `describe()` lists them too. */
  readonly onAlarm?: (alarm: Alarm) => void
}

/** Opens the engine of a URL scheme. Its module is loaded when it is called. */
export type EngineOpener = (url: string, options: ConnectOptions) => Promise<Engine>

/** A `connect` that knows the engines given, by their URLs' schemes. */
export function connectWith(engines: Readonly<Record<string, EngineOpener>>): (url: string, options?: ConnectOptions) => Promise<Broker> {
  return async (url, options = {}) => {
    knownOptions(options, ['source', 'onAlarm', 'readOnly', 'token'], 'connect')
    const scheme = typeof url === 'string' ? /^([a-z][a-z0-9+.-]*):/.exec(url)?.[1] : undefined
    const open = scheme === undefined ? undefined : engines[scheme]
    if (open === undefined) {
      const known = Object.keys(engines).map((name) => `${name}:`)
      throw new MillraceError('UNKNOWN_ENGINE', `"${String(url)}" names no engine: use ${known.join(' or ')}, as in file:./data`, {
        url: String(url),
        engines: known,
      })
    }
    return new ConnectedBroker(await open(url, options), { source: options.source ?? '/millrace', random: Math.random })
  }
}
