/**
 * The audit trail: the actions of people on channels, consumers and rules, as events of the stream `$audit`.
 *
 * Gateways add an event for each management call before it is answered, whether it was done or refused. Calls of
 * `broker` itself are recorded if they say who acts or why, as those of the command line do.
 *
 * Only Millrace writes to it: publishing to channels that begin with `$` is refused for every remote caller.
 */
import { isMillraceError } from '../base/errors.ts'
import { stream } from '../channel/channel.ts'
import type { ActionOptions } from './action-options.ts'
import type { BrokerHost } from './broker.ts'
import { checkedNote } from './call-options.ts'

const AUDIT_CHANNEL = '$audit'

/** Who acts. */
export interface Actor {
  readonly kind: 'local' | 'token' | 'jwt' | 'owner'
  readonly name: string
}

/** The recorded facts of an action. Request bodies are not recorded, because they may contain secrets. */
export interface AuditEntry {
  /** For example `redriveDeadLetters`. */
  readonly action: string
  readonly principal: Actor
  /** What it is about: path and query parameters, and the facts that a route notes. */
  readonly target: Readonly<Record<string, string>>
  readonly outcome: 'done' | 'refused' | 'failed'
  /** The HTTP status; null for a call that did not come over HTTP. */
  readonly status: number | null
  /** The error code, if it was not done. */
  readonly code?: string
}

const trail = stream(AUDIT_CHANNEL, { retain: { age: '365d' } })

export class Audit {
  readonly #host: Pick<BrokerHost, 'engine' | 'encoder'>
  readonly #source: string

  constructor(host: Pick<BrokerHost, 'engine' | 'encoder'>, source = '/millrace/gateway') {
    this.#host = host
    this.#source = source
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
      ...(status !== null && { status }),
      ...(code !== undefined && { code }),
    }
    const encoded = await encoder.encode(AUDIT_CHANNEL, {
      type: `millrace.audit.${action}`,
      source: this.#source,
      data,
    })
    await engine.publish(AUDIT_CHANNEL, encoded, null)
  }
}

/** An action of a handle, with the options that say who acts and why. */
export interface NotedAction {
  readonly action: string
  readonly target: Readonly<Record<string, string | number | undefined>>
  readonly options: ActionOptions
}

/**
 * Act, and record the action if its options say who acts or why. `act` gets the reason, for a server that records the
 * calls of its clients itself.
 */
export async function noted<Answer>(
  { engine, encoder }: Pick<BrokerHost, 'engine' | 'encoder'>,
  { action, target, options }: NotedAction,
  act: (reason: string | undefined) => Promise<Answer>,
): Promise<Answer> {
  const note = checkedNote(options, action)
  if (note === null || engine.recordsActions === true) return act(note?.reason)
  const { reason, by } = note
  const facts = Object.entries({ reason, ...target }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as const],
  )
  const entry = {
    action,
    principal: { kind: 'local', name: by },
    target: Object.fromEntries(facts),
    status: null,
  } as const
  const audit = new Audit({ engine, encoder }, '/millrace')
  try {
    const answer = await act(reason)
    await audit.record({ ...entry, outcome: 'done' })
    return answer
  } catch (error) {
    const code = isMillraceError(error) ? { code: error.code } : {}
    await audit.record({ ...entry, outcome: 'failed', ...code }).catch(() => undefined)
    throw error
  }
}
