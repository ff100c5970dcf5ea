/**
 * What the parts of the gateway share: the broker and its engine, the limits, the audit trail, the report of failures.
 */

import type { Audit } from '../broker/audit.ts'
import type { Broker } from '../broker/broker.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import type { Quota } from './access/quota.ts'
import type { Vigil } from './access/vigil.ts'
import type { RequestBodies } from './request-body.ts'

export interface GatewayHost {
  readonly broker: Broker
  /** The broker's engine and encoder, for routes that handle event texts. */
  readonly core: BrokerCore
  readonly bodies: RequestBodies
  readonly quota: Quota
  /** Ends streams and sockets whose credentials are no longer valid. */
  readonly vigil: Vigil
  readonly audit: Audit
  /** An answer that goes on ends if its client takes nothing for this time. */
  readonly stallMs: number
  /** Called for failures that are not a `MillraceError`. */
  readonly report: (error: unknown) => void
}
