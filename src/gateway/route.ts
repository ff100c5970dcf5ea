/**
 * What a route is: the one definition from which the gateway serves, checks permissions, leaves audit events and writes its OpenAPI document.
 *
 * A part of the gateway (publishing, consuming, webhooks …) is a list of routes with whatever stands behind them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ErrorCode } from '../base/errors.ts'
import type { Action } from './access/permissions.ts'
import type { Principal } from './access/principal.ts'
import type { DirectAnswer } from './direct-answer.ts'

/** JSON Schema 2020-12, as OpenAPI 3.1 has it. */
export type JsonSchema = Readonly<Record<string, unknown>>

export interface Parameter {
  readonly description: string
  readonly schema: JsonSchema
  /** @default false */
  readonly required?: boolean
}

/** A body of a request or an answer: its media types, each with a schema. */
export type Content = Readonly<Record<string, JsonSchema>>

export interface Answer {
  readonly description: string
  readonly content?: Content
  readonly headers?: Readonly<Record<string, Parameter>>
}

/**
 * Who may: `open` asks for no credentials · `known` for any that are valid · an action on the channels that a path parameter names (several with
 * commas) · `handler`: the handler calls `request.permit` itself, before it does anything, as only it knows the channels.
 */
export type RouteAccess =
  | 'open'
  | 'known'
  | { readonly action: Action; readonly of: string }
  | { readonly action: Action; readonly of: 'handler' }

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS'
  /** As in OpenAPI: `/channels/{channel}/events`. */
  readonly path: string
  /** The operation's id, and the audit event's name of what was done: `publishEvents`. */
  readonly name: string
  /** What it does, in a line. */
  readonly summary: string
  readonly description?: string
  /** Which group of the document it belongs to. */
  readonly tag: string
  readonly access: RouteAccess
  /** A route that changes what others rely on leaves an event on `$audit`. @default actions `manage` and `rules`, unless GET */
  readonly audited?: boolean
  readonly parameters?: Readonly<Record<string, Parameter>>
  /** Query parameters. One that is not here is refused, and so is one given twice. */
  readonly query?: Readonly<Record<string, Parameter>>
  /** Request headers that mean something, for the document. */
  readonly headers?: Readonly<Record<string, Parameter>>
  readonly body?: { readonly required: boolean; readonly content: Content; readonly description?: string }
  /** What it answers when all is well, by status. */
  readonly answers: Readonly<Record<number, Answer>>
  /** Codes that it refuses with, besides those that every route has (credentials, permissions, rate, a bad request). */
  readonly refuses?: readonly ErrorCode[]
  /** Of an open route: callers whose credentials hold are known by them. @default false */
  readonly identifies?: boolean
  /** Counts against no quota: what says whether the gateway lives. @default false */
  readonly unmetered?: boolean
  /** HEAD has no meaning here (a stream without end). @default false */
  readonly noHead?: boolean
  readonly handle: (request: GatewayRequest) => Response | Promise<Response>
}

/** A request that has been let in. */
export interface GatewayRequest {
  readonly raw: Request
  readonly url: URL
  /** Path parameters, decoded once. */
  readonly parameters: Readonly<Record<string, string>>
  /** Query parameters that the route declares. */
  readonly query: Readonly<Record<string, string | undefined>>
  readonly principal: Principal
  /** Node's own objects, where the server is Node's. */
  readonly incoming: IncomingMessage | undefined
  readonly outgoing: ServerResponse | undefined
  /** Where our own server takes an answer's text from (direct-answer.ts). */
  readonly direct: DirectAnswer | undefined
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal
  /** @throws FORBIDDEN */
  permit(action: Action, channel: string): void
  /** The test whether it is permitted on a channel: for a handler that leaves out what is not. */
  permitted(action: Action): (channel: string) => boolean
  /** Permit it on every channel of what has a name of its own, `channels` none where it is not there. The refusal tells neither. @throws FORBIDDEN */
  permitNamed(
    action: Action,
    what: 'consumer' | 'rule' | 'subscription',
    name: string,
    channels: readonly string[],
  ): void
  /** What an audit event is to say of the call besides the path and the query: where events go, never a secret. */
  note(facts: Readonly<Record<string, string>>): void
  /** Read the body, bounded; its bytes count as held until `use` is done. @throws REQUEST_TOO_LARGE · BACKPRESSURE · INVALID_REQUEST · UNAUTHENTICATED when the credentials ended meanwhile */
  body<Result>(use: (bytes: Uint8Array) => Result | Promise<Result>): Promise<Result>
  /** The body as JSON: UTF-8, not too deep. An empty one is `undefined`. @throws as `body`, and INVALID_REQUEST when it is none */
  json(): Promise<unknown>
  /** The same, with the text that it was made of. */
  jsonText(): Promise<{ readonly value: unknown; readonly text: string }>
  /** Keep the request's place among the open ones until `release` is called: for streams, which outlive the answer's beginning. */
  holdOpen(): () => void
}

/** A WebSocket (or other) upgrade. The frame has checked the origin, the credentials and the quota. */
export interface UpgradeRoute {
  /** No parameters: `/ws`. */
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
  /** Give back the place among the open ones: call it when the socket has closed. */
  readonly release: () => void
}

/** A part of the gateway. */
export interface GatewayPart {
  readonly routes: readonly Route[]
  readonly upgrades?: readonly UpgradeRoute[]
  /** What must run before the gateway is ready. */
  start?(): Promise<void>
  /** Take nothing new, finish what runs, let go. */
  close?(): Promise<void> | void
}
