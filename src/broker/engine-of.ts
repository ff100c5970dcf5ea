/**
 * The seam beneath a broker: rooms that work with stored events as they are (copy, rules, gateway, command line) reach
 * the engine here.
 *
 * A broker has its core as a property under a symbol that only this copy of the package knows. A wrapper that forwards
 * every property of a broker forwards this one too. A broker of another copy of the package has another symbol, and is
 * refused.
 */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import type { Broker, BrokerHost } from './broker.ts'
import type { Engine } from './engine.ts'

/** The property of a broker that is its core. */
const CORE = Symbol('millrace.core')

/** The engine of a broker, and what the broker itself uses with it. */
export interface BrokerCore extends BrokerHost {
  /** The broker is closed, or closing. */
  readonly closed: boolean
}

/** Makes the core of a broker available to `coreOf` and `engineOf`. Each broker calls it for itself. */
export function offerCore(broker: Broker, core: BrokerCore): void {
  Object.defineProperty(broker, CORE, { value: core, configurable: true })
}

/**
 * Checks that an argument is a broker of this copy of the package.
 * @throws INVALID_OPTION when it is not a broker, or one of another copy of the package
 */
export function checkBroker(broker: unknown, of: string): void {
  if (typeof broker !== 'object' || broker === null || typeof (broker as Partial<Broker>).start !== 'function') {
    const message = `${of} takes a broker, as connect() returns it; this is ${shown(broker)}`
    throw new MillraceError('INVALID_OPTION', message, { option: 'broker' })
  }
  coreOf(broker as Broker, of)
}

/**
 * Works also on a closed broker.
 * @throws INVALID_OPTION when it is a broker of another copy of the package
 */
export function coreOf(broker: Broker, of = 'this'): BrokerCore {
  const core = (broker as { readonly [CORE]?: BrokerCore })[CORE]
  if (core !== undefined) return core
  const message =
    `${of} cannot reach the engine of this broker: it comes from another copy of millrace, or from a wrapper that hides it. ` +
    'Install millrace once, bundle all of it or none, and give the broker that connect() returned'
  throw new MillraceError('INVALID_OPTION', message, { option: 'broker' })
}

/**
 * The engine of a broker that is open.
 * @throws CLOSED · INVALID_OPTION when it is a broker of another copy of the package
 */
export function engineOf(broker: Broker): Engine {
  const { closed, engine } = coreOf(broker)
  if (closed) throw new MillraceError('CLOSED', 'the broker is closed: connect again')
  return engine
}
