/** What the parts of the gateway share: the broker and its engine, the bounds, the audit trail, failures. */
import type { Broker } from '../broker/broker.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import type { Quota } from './access/quota.ts'
import type { Vigil } from './access/vigil.ts'
import type { Audit } from './audit.ts'
import type { RequestBodies } from './request-body.ts'

export interface GatewayHost {
  readonly broker: Broker
  /** The broker's engine and encoder, for what carries texts and not events. */
  readonly core: BrokerCore
  readonly bodies: RequestBodies
  readonly quota: Quota
  /** Ends what is open when its credentials no longer hold. */
  readonly vigil: Vigil
  readonly audit: Audit
  /** Told of failures that are not a `MillraceError`. */
  readonly report: (error: unknown) => void
}
