/**
 * The audit trail: each management call adds an event to the stream `$audit` before it is answered, whether it was done
 * or refused.
 *
 * Only Millrace writes to it: publishing to channels that begin with `$` is refused for every caller.
 */
import type { BrokerHost } from '../broker/broker.ts'
import { stream } from '../channel/channel.ts'
import type { Principal } from './access/principal.ts'

export const AUDIT_CHANNEL = '$audit'

/** The recorded facts of a management call. Request bodies are not recorded, because they may contain secrets. */
export interface AuditEntry {
  /** The route's name, such as `redriveDeadLetters`. */
  readonly action: string
  readonly principal: Principal
  /** The target of the call: path and query parameters, and the facts that the route notes. */
  readonly target: Readonly<Record<string, string>>
  readonly outcome: 'done' | 'refused' | 'failed'
  readonly status: number
  /** The error code, if the call was not done. */
  readonly code?: string
}

const trail = stream(AUDIT_CHANNEL, { retain: { age: '365d' } })

export class Audit {
  readonly #host: BrokerHost

  constructor(host: BrokerHost) {
    this.#host = host
  }

  /**
   * Resolves when the entry is durable. @throws what publishing throws: a call that cannot be recorded must not look
   * done
   */
  async record({ action, principal, target, outcome, status, code }: AuditEntry): Promise<void> {
    const { engine, encoder } = this.#host
    await encoder.prepare(trail)
    const data = {
      action,
      by: { kind: principal.kind, name: principal.name },
      target,
      outcome,
      status,
      ...(code !== undefined && { code }),
    }
    const encoded = await encoder.encode(AUDIT_CHANNEL, {
      type: `millrace.audit.${action}`,
      source: '/millrace/gateway',
      data,
    })
    await engine.publish(AUDIT_CHANNEL, encoded, null)
  }
}
