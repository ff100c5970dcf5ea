/**
 * The definition of a route. From it the gateway serves requests, checks permissions, records audit events and writes
 * the OpenAPI document.
 *
 * A part of the gateway (publishing, consuming, webhooks …) is a list of routes and the state behind them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ErrorCode } from '../base/errors.ts'
import type { Action } from './access/permissions.ts'
import type { Principal } from './access/principal.ts'
import type { DirectAnswer } from './direct-answer.ts'

/** JSON Schema 2020-12, as OpenAPI 3.1 uses it. */
export type JsonSchema = Readonly<Record<string, unknown>>

export interface Parameter {
  readonly description: string
  readonly schema: JsonSchema
  /** @default false */
  readonly required?: boolean
}

/** A request or response body: its media types, each with a schema. */
export type Content = Readonly<Record<string, JsonSchema>>

export interface ResponseSpec {
  readonly description: string
  readonly content?: Content
  readonly headers?: Readonly<Record<string, Parameter>>
}

/**
 * The access rule of a route:
 * - `open` requires no credentials.
 * - `known` requires any valid credentials.
 * - `of: NAME` requires the action on the channels that the path parameter NAME lists, separated by commas.
 * - `of: 'handler'`: only the handler knows the channels, so it calls `request.permit` before anything else.
 */
export type RouteAccess =
  | 'open'
  | 'known'
  | { readonly action: Action; readonly of: string }
  | { readonly action: Action; readonly of: 'handler' }

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS'
  /** In OpenAPI's form: `/channels/{channel}/events`. */
  readonly path: string
  /** The operation's id, which is also the action in the audit event: `publishEvents`. */
  readonly name: string
  /** What it does, in one line. */
  readonly summary: string
  readonly description?: string
  /** The group of the document that it belongs to. */
  readonly tag: string
  readonly access: RouteAccess
  /** Whether calls are recorded on `$audit`. @default actions `manage` and `rules`, unless GET */
  readonly audited?: boolean
  readonly parameters?: Readonly<Record<string, Parameter>>
  /** Query parameters. One that is not listed here, or is given twice, is refused. */
  readonly query?: Readonly<Record<string, Parameter>>
  /** Request headers that the route uses, for the document. */
  readonly headers?: Readonly<Record<string, Parameter>>
  readonly body?: { readonly required: boolean; readonly content: Content; readonly description?: string }
  /** The successful responses, by status. */
  readonly answers: Readonly<Record<number, ResponseSpec>>
  /** Error codes besides those that every route has (credentials, permissions, rate, a bad request). */
  readonly refuses?: readonly ErrorCode[]
  /** For an open route: whether valid credentials identify the caller. @default false */
  readonly identifies?: boolean
  /** Whether requests count against no quota, as for health checks. @default false */
  readonly unmetered?: boolean
  /**
   * The action destroys or repeats something, so the caller gives a reason: in the query, or in the body if the route
   * says so. The handler asks for it with `request.reason`, after the permission. @default false
   */
  readonly needsReason?: true | 'body'
  /** Whether HEAD is refused, as for an endless stream. @default false */
  readonly noHead?: boolean
  readonly handle: (request: GatewayRequest) => Response | Promise<Response>
}

/** A request that has passed all checks. */
export interface GatewayRequest {
  readonly raw: Request
  readonly url: URL
  /** Path parameters, percent-decoded once. */
  readonly parameters: Readonly<Record<string, string>>
  /** The query parameters that the route declares. */
  readonly query: Readonly<Record<string, string | undefined>>
  readonly principal: Principal
  /** Node's own objects, if the server is Node's. */
  readonly incoming: IncomingMessage | undefined
  readonly outgoing: ServerResponse | undefined
  /** Where our own server takes an answer's text from (direct-answer.ts). */
  readonly direct: DirectAnswer | undefined
  /** Aborts when the client has disconnected. */
  readonly signal: AbortSignal
  /** Require a permission on a channel. @throws FORBIDDEN */
  permit(action: Action, channel: string): void
  /** Whether the caller sees the sensitive fields of a channel's events. */
  readonly maySee: (channel: string) => boolean
  /** A test of the permission, for a handler that leaves out channels without it. */
  permitted(action: Action): (channel: string) => boolean
  /**
   * Require the permission on every channel of a named thing; `channels` is empty if it does not exist. The refusal
   * does not reveal whether it exists. @throws FORBIDDEN
   */
  permitNamed(
    action: Action,
    what: 'consumer' | 'rule' | 'subscription' | 'schedule',
    name: string,
    channels: readonly string[],
  ): void
  /**
   * The caller's reason, for the audit event. `said` is the one in the body; without it, the one in the query is taken.
   * @throws INVALID_REQUEST when there is none, or it is too long
   */
  reason(said?: unknown): string
  /** Facts for the audit event besides the path and the query, such as where events go. Never a secret. */
  note(facts: Readonly<Record<string, string>>): void
  /**
   * Read the body, within the limits. Its bytes count until `use` has finished. @throws REQUEST_TOO_LARGE ·
   * BACKPRESSURE · INVALID_REQUEST · UNAUTHENTICATED when the credentials ended meanwhile
   */
  body<Result>(use: (bytes: Uint8Array) => Result | Promise<Result>): Promise<Result>
  /**
   * The body as JSON in UTF-8 of limited depth; `undefined` when it is empty. @throws as `body`, and INVALID_REQUEST
   * when it is not JSON
   */
  json(): Promise<unknown>
  /** The same, together with the JSON text. */
  jsonText(): Promise<{ readonly value: unknown; readonly text: string }>
  /**
   * Keep the request counted as open until the returned function is called: for streams, which outlive the start of
   * their response.
   */
  holdOpen(): () => void
}

/** A WebSocket (or other) upgrade. Origin, credentials and quota are already checked. */
export interface UpgradeRoute {
  /** A path without parameters, such as `/ws`. */
  readonly path: string
  readonly name: string
  readonly summary: string
  readonly handle: (upgrade: Upgrade) => void | Promise<void>
}

export interface Upgrade {
  readonly incoming: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly url: URL
  readonly principal: Principal
  /** Ends the count as open: call it when the socket has closed. */
  readonly release: () => void
}

/** A part of the gateway. */
export interface GatewayPart {
  readonly routes: readonly Route[]
  readonly upgrades?: readonly UpgradeRoute[]
  /** Resolves when everything that the part needs runs. */
  start?(): Promise<void>
  /** Accept nothing new, finish what runs, release everything. */
  close?(): Promise<void> | void
}
