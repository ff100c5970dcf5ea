/** Who is at the other end of a connection, and what they may do there. */
import { ERROR_CODES, type ErrorCode, MillraceError, outwardDetails, outwardMessage } from '../base/errors.ts'

/** What can be allowed. `manage` is declaring, removing, rewinding and dead letters. */
export type Permission = 'publish' | 'consume' | 'read' | 'manage'

export interface Access {
  /** Who, as a log or an audit says it. A session goes on over another connection for the same name only. */
  readonly name: string
  /** The other end is this program: what it encoded is not looked at again. */
  readonly trusted: boolean
  /** `channel` is a name, or a wildcard for all that it stands for. @throws FORBIDDEN */
  check(permission: Permission, channel: string): void
  /** Count requests: publishes, calls, the begin of subscriptions and reads. Answers how many of them may be made, at least one. @throws RATE_LIMITED when none may */
  admit?(requests: number): number
  /** Count what can no longer be refused. Answers for how many milliseconds no more of it is to be asked for. */
  charge?(): number
  /** Told of each `manage` call before its answer; what this rejects with is the answer. */
  audit?(call: AuditedCall): Promise<void>
}

export interface AuditedCall {
  readonly method: string
  readonly target: Readonly<Record<string, string>>
  readonly outcome: 'done' | 'refused' | 'failed'
  readonly code?: string
}

export function allows(access: Access, permission: Permission, channel: string): boolean {
  try {
    access.check(permission, channel)
    return true
  } catch {
    return false
  }
}

/** Whoever reaches the socket may do everything: the system's permissions keep others out. */
export const localAccess: Access = { name: 'local', trusted: true, check: () => undefined }

/** What a client says of itself when it connects. */
export interface Hello {
  readonly protocol: number
  /** The session to go on with, or null. */
  readonly session: string | null
  /** Counted frames that the client has of it. */
  readonly received: number
  readonly token: string | null
}

/** What the server answers. */
export interface Welcome {
  readonly protocol: number
  readonly session: string
  /** The session goes on: nothing was lost. */
  readonly resumed: boolean
  /** Counted frames that the server has of it. */
  readonly received: number
  readonly nowMs: number
  readonly heartbeatMs: number
  readonly engine: string
  readonly capabilities: unknown
  /** Methods of `call` that this server has and older ones of this version have not. */
  readonly methods?: readonly string[]
}

/** An error as it crosses the wire. */
export interface WireError {
  readonly code: string
  readonly message: string
  readonly details: Readonly<Record<string, unknown>>
}

export function wireErrorOf(error: unknown): WireError {
  const known = error as Partial<MillraceError>
  const message = error instanceof Error ? error.message : String(error)
  if (typeof known?.code !== 'string' || (error as Error).name !== 'MillraceError')
    return { code: 'UNAVAILABLE', message: `the server failed: ${message}`, details: {} }
  return {
    code: known.code,
    message: outwardMessage(known.code, message),
    details: outwardDetails(known.details ?? {}),
  }
}

/** An error as the other end gave it. */
export function errorOfWire(value: unknown): MillraceError {
  const { code, message, details } = (value ?? {}) as Partial<Record<keyof WireError, unknown>>
  const known = typeof code === 'string' && Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'UNAVAILABLE'
  const facts =
    typeof details === 'object' && details !== null && !Array.isArray(details) ? (details as WireError['details']) : {}
  return new MillraceError(
    known,
    typeof message === 'string' ? message : 'the server failed, and did not say why',
    facts,
  )
}
