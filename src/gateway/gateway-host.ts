/** What the parts of the gateway share: the broker and its engine, the bounds, the audit trail, failures. */
import type { Broker, BrokerHost, Startable, Stoppable } from '../broker/broker.ts'
import type { Quota } from './access/quota.ts'
import type { Vigil } from './access/vigil.ts'
import type { Audit } from './audit.ts'
import type { RequestBodies } from './request-body.ts'

export interface GatewayHost {
  readonly broker: Broker
  /** The broker's engine and encoder, for what carries texts and not events. */
  readonly engine: () => Promise<BrokerHost>
  /** Whether the broker that lent its engine has closed since. */
  readonly hasClosed: () => boolean
  readonly bodies: RequestBodies
  readonly quota: Quota
  /** Ends what is open when its credentials no longer hold. */
  readonly vigil: Vigil
  readonly audit: Audit
  /** Told of failures that are not a `MillraceError`. */
  readonly report: (error: unknown) => void
}

/** The engine beneath a broker, asked for once, and whether the broker has closed. The broker lends it to whatever it starts. */
export function engineOf(broker: Broker): Pick<GatewayHost, 'engine' | 'hasClosed'> {
  let host: Promise<BrokerHost> | undefined
  let closed = false
  const engine = (): Promise<BrokerHost> => {
    host ??= borrow(broker, () => {
      closed = true
    })
    host.catch(() => {
      host = undefined
    })
    return host
  }
  return { engine, hasClosed: () => closed }
}

async function borrow(broker: Broker, closed: () => void): Promise<BrokerHost> {
  let lent: BrokerHost | undefined
  const borrower: Startable<Stoppable> = {
    start: async (host) => {
      lent = host
      let done = (): void => undefined
      const ended = new Promise<void>((resolve) => {
        done = resolve
      })
      const stop = async (): Promise<void> => {
        closed()
        done()
      }
      return { stop, done: ended }
    },
  }
  await broker.start(borrower)
  return lent as unknown as BrokerHost
}
