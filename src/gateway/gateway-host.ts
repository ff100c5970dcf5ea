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
  readonly bodies: RequestBodies
  readonly quota: Quota
  /** Ends what is open when its credentials no longer hold. */
  readonly vigil: Vigil
  readonly audit: Audit
  /** Told of failures that are not a `MillraceError`. */
  readonly report: (error: unknown) => void
}

/** The engine beneath a broker, asked for once. The broker lends it to whatever it starts. */
export function engineOf(broker: Broker): () => Promise<BrokerHost> {
  let host: Promise<BrokerHost> | undefined
  return () => {
    host ??= borrow(broker)
    host.catch(() => {
      host = undefined
    })
    return host
  }
}

async function borrow(broker: Broker): Promise<BrokerHost> {
  let lent: BrokerHost | undefined
  const borrower: Startable<Stoppable> = {
    start: async (host) => {
      lent = host
      return { stop: async () => undefined, done: Promise.resolve() }
    },
  }
  await broker.start(borrower)
  return lent as unknown as BrokerHost
}
