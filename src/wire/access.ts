/** The name and the permissions of the other end of a connection. */
import { ERROR_CODES, type ErrorCode, MillraceError, outwardDetails, outwardMessage } from '../base/errors.ts'

/** The kinds of permission. `manage` allows declaring, removing, rewinding, and work on dead letters; `sensitive`
 * allows seeing fields that are masked for others. */
export type Permission = 'publish' | 'consume' | 'read' | 'manage' | 'sensitive'

export interface Access {
  /** The name for logs and the audit trail. A session can be resumed only by a connection with the same name. */
  readonly name: string
  /** The other end is part of this program, so the events that it encoded are not checked again. */
  readonly trusted: boolean
  /**
   * `channel` is a name, or a wildcard, which needs the permission for all channels that it matches. @throws FORBIDDEN
   */
  check(permission: Permission, channel: string): void
  /**
   * Count requests: publishes, calls, new subscriptions and new reads. Returns how many of them are allowed, at least
   * one.
   * @throws RATE_LIMITED when none is allowed
   */
  admit?(requests: number): number
  /**
   * Count a request that can no longer be refused. Returns for how many milliseconds no further such request may be
   * caused.
   */
  charge?(): number
  /**
   * Called for each `manage` call before its answer is sent. If it rejects, the caller gets that error as the answer.
   */
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

/** Full access: the operating system's permissions on the socket already keep others out. */
export const localAccess: Access = { name: 'local', trusted: true, check: () => undefined }

/** What a client sends when it connects. */
export interface Hello {
  readonly protocol: number
  /** The session to resume, or null for a new one. */
  readonly session: string | null
  /** How many counted frames the client has received in this session. */
  readonly received: number
  readonly token: string | null
}

/** The server's answer to a `Hello`. */
export interface Welcome {
  readonly protocol: number
  readonly session: string
  /** The session was resumed and no frame was lost. */
  readonly resumed: boolean
  /** How many counted frames the server has received in this session. */
  readonly received: number
  readonly nowMs: number
  readonly heartbeatMs: number
  readonly engine: string
  readonly capabilities: unknown
  /** Methods of `call` that this server has and that older servers of the same protocol version lack. */
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

/** Rebuild the error that the other end sent. */
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
