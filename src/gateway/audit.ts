/**
 * The audit trail: an event on the stream `$audit` for each management call, before its answer, whether it was done or refused.
 * Millrace alone writes to it: publishing to channels that begin with `$` is refused to everyone.
 */
import type { BrokerHost } from '../broker/broker.ts'
import { stream } from '../channel/channel.ts'
import type { Principal } from './access/principal.ts'

export const AUDIT_CHANNEL = '$audit'

/** What is kept of a management call. No bodies: what they hold is not the trail's. */
export interface AuditEntry {
  /** The route's name: `redriveDeadLetters`. */
  readonly action: string
  readonly principal: Principal
  /** What it was done to: path and query parameters, and what the route notes. */
  readonly target: Readonly<Record<string, string>>
  readonly outcome: 'done' | 'refused' | 'failed'
  readonly status: number
  /** The `MillraceError` code, when it was not done. */
  readonly code?: string
}

const trail = stream(AUDIT_CHANNEL, { retain: { age: '365d' } })

export class Audit {
  readonly #host: BrokerHost

  constructor(host: BrokerHost) {
    this.#host = host
  }

  /** Resolves when the entry is durable. @throws what publishing throws: a call that cannot be recorded must not look done */
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
