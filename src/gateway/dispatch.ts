/**
 * Serves the route table. For each request: authenticate, check the permission and the quota, run the route, and record
 * a management call.
 *
 * A route sees nothing of a request before these checks have passed.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Context, Hono } from 'hono'
import { isMillraceError, type MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import type { AuditEntry } from '../broker/audit.ts'
import type { Authenticator } from './access/authenticator.ts'
import { type Caller, callerOfRequest } from './access/caller.ts'
import type { Action } from './access/permissions.ts'
import { notYours, type Principal, principalOf, requireHeld, requirePermission } from './access/principal.ts'
import type { DirectAnswer } from './direct-answer.ts'
import type { GatewayHost } from './gateway-host.ts'
import { jsonOf } from './json-body.ts'
import { badRequest, problem, problemOf } from './problem.ts'
import { parameters } from './query.ts'
import type { GatewayRequest, Route } from './route.ts'

/** Objects that a server passes with a request. */
interface ServerObjects {
  readonly incoming?: IncomingMessage
  readonly outgoing?: ServerResponse
  readonly direct?: DirectAnswer
}

/** The principal for routes that need no credentials. */
const ANYONE: Principal = principalOf({ name: 'anyone', kind: 'local', permissions: {} })

/** Serve the routes. For a method that a path does not have, the refusal lists the methods that it has. */
export function mountRoutes(
  app: Hono,
  routes: readonly Route[],
  authenticator: Authenticator,
  host: GatewayHost,
): void {
  const methods = new Map<string, string[]>()
  for (const route of routes) {
    const known = methods.get(route.path) ?? []
    if (known.includes(route.method)) throw new Error(`${route.method} ${route.path} is defined twice`)
    methods.set(route.path, [
      ...known,
      route.method,
      ...(route.method === 'GET' && route.noHead !== true ? ['HEAD'] : []),
    ])
    app.on(route.method, honoPath(route.path), (c) =>
      route.noHead === true && c.req.raw.method === 'HEAD'
        ? notAllowed(c, methods.get(route.path) ?? [])
        : serve(c, route, authenticator, host),
    )
  }
  for (const [path, allowed] of methods) app.all(honoPath(path), (c) => notAllowed(c, allowed))
}

function notAllowed(c: Context, allowed: readonly string[]): Response {
  const allow = [...allowed].sort().join(', ')
  return problem(badRequest(405, `${c.req.path} does not accept ${c.req.raw.method}: use ${allow}`), { allow })
}

function honoPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1')
}

async function serve(c: Context, route: Route, authenticator: Authenticator, host: GatewayHost): Promise<Response> {
  const node = (c.env ?? {}) as ServerObjects
  const caller = callerOfRequest(c.req.raw, node.incoming)
  const asked =
    route.access !== 'open'
      ? authenticator.authenticate(caller)
      : route.identifies === true
        ? knownOrAnyone(authenticator, caller)
        : ANYONE
  const principal = asked instanceof Promise ? await asked : asked
  const release = route.unmetered === true ? noRelease : host.quota.admit(principal)
  const request = new RoutedRequest(c, route, principal, caller.url, node, host, release)
  try {
    return isAudited(route) ? await audited(request, route, host) : await request.answer()
  } finally {
    if (!request.held) release()
  }
}

async function knownOrAnyone(authenticator: Authenticator, caller: Caller): Promise<Principal> {
  try {
    return await authenticator.authenticate(caller)
  } catch {
    return ANYONE
  }
}

const noRelease = (): void => undefined

function isAudited({ audited: own, access, method }: Route): boolean {
  return (
    own ?? (typeof access === 'object' && (access.action === 'manage' || access.action === 'rules') && method !== 'GET')
  )
}

/**
 * Run the route, and record the audit entry before the answer goes out. A call that cannot be recorded is not answered
 * as done.
 */
async function audited(request: RoutedRequest, route: Route, host: GatewayHost): Promise<Response> {
  let response: Response
  try {
    response = await request.answer()
  } catch (error) {
    const { status } = problemOf(error)
    const outcome = isMillraceError(error)
      ? ({ outcome: 'refused', code: error.code } as const)
      : ({ outcome: 'failed' } as const)
    await host.audit.record({ ...entryOf(request, route), ...outcome, status }).catch(host.report)
    throw error
  }
  await host.audit.record({ ...entryOf(request, route), outcome: 'done', status: response.status })
  return response
}

function entryOf(
  { principal, target }: RoutedRequest,
  { name }: Route,
): Pick<AuditEntry, 'action' | 'principal' | 'target'> {
  return { action: name, principal, target }
}

function noReason(said: unknown): MillraceError {
  const most = `up to ${LIMITS.reasonCharsMax} characters`
  if (said !== undefined && said !== '')
    return badRequest(400, `reason must be a text of ${most}`, { parameter: 'reason' })
  return badRequest(
    400,
    `this cannot be undone, or it repeats work: say why with reason= (${most}), which the audit trail keeps`,
    { parameter: 'reason' },
  )
}

class RoutedRequest implements GatewayRequest {
  readonly raw: Request
  readonly url: URL
  readonly parameters: Readonly<Record<string, string>>
  readonly principal: Principal
  readonly incoming: IncomingMessage | undefined
  readonly outgoing: ServerResponse | undefined
  readonly direct: DirectAnswer | undefined
  query: Readonly<Record<string, string | undefined>> = {}
  /** Other code ends this request's count as open. */
  held = false
  readonly #route: Route
  readonly #host: GatewayHost
  readonly #release: () => void
  #permitted = false
  #reasoned = false
  #notes: Readonly<Record<string, string>> = {}

  constructor(
    c: Context,
    route: Route,
    principal: Principal,
    url: URL,
    node: ServerObjects,
    host: GatewayHost,
    release: () => void,
  ) {
    this.raw = c.req.raw
    this.url = url
    this.parameters = c.req.param()
    this.principal = principal
    this.incoming = node.incoming
    this.outgoing = node.outgoing
    this.direct = node.direct
    this.#route = route
    this.#host = host
    this.#release = release
  }

  get signal(): AbortSignal {
    return this.raw.signal
  }

  /** Path and query parameters without credentials, and the noted facts. */
  get target(): Readonly<Record<string, string>> {
    const { access_token: _, ...query } = Object.fromEntries(this.url.searchParams)
    return { ...this.#notes, ...query, ...this.parameters }
  }

  note(facts: Readonly<Record<string, string>>): void {
    this.#notes = { ...this.#notes, ...facts }
  }

  async answer(): Promise<Response> {
    const { access, query, handle, needsReason } = this.#route
    if (typeof access === 'object' && access.of !== 'handler') {
      for (const channel of (this.parameters[access.of] ?? '').split(','))
        this.permit(access.action, checkName(channel, 'channel'))
    }
    this.query = parameters(this.url, [...Object.keys(query ?? {}), ...(needsReason === true ? ['reason'] : [])])
    const response = await handle(this)
    if (typeof access === 'object' && !this.#permitted)
      throw new Error(`route ${this.#route.name} answered without asking for a permission`)
    if (needsReason !== undefined && !this.#reasoned)
      throw new Error(`route ${this.#route.name} answered without asking for the reason`)
    return response
  }

  reason(said: unknown = this.query['reason']): string {
    const reason = typeof said === 'string' ? said.trim() : ''
    if (reason === '' || reason.length > LIMITS.reasonCharsMax) throw noReason(said)
    this.#reasoned = true
    this.note({ reason })
    return reason
  }

  permit(action: Action, channel: string): void {
    requirePermission(this.principal, action, channel)
    this.#permitted = true
  }

  readonly maySee = (channel: string): boolean => this.principal.permits('sensitive', channel)

  permitted(action: Action): (channel: string) => boolean {
    this.#permitted = true
    return (channel) => this.principal.permits(action, channel)
  }

  permitNamed(
    action: Action,
    what: 'consumer' | 'rule' | 'subscription' | 'schedule',
    name: string,
    channels: readonly string[],
  ): void {
    const asked = channels.length === 0 ? ['>'] : channels
    if (!asked.every((channel) => this.principal.permits(action, channel)))
      throw notYours(this.principal, action, what, name)
    this.#permitted = true
  }

  body<Result>(use: (bytes: Uint8Array) => Result | Promise<Result>): Promise<Result> {
    return this.#host.bodies.read(this.raw, this.incoming, this.principal, (bytes) => {
      // A body may take as long as the request's time limit, so the credentials are checked again.
      requireHeld(this.principal)
      return use(bytes)
    })
  }

  async json(): Promise<unknown> {
    return (await this.jsonText()).value
  }

  jsonText(): Promise<{ readonly value: unknown; readonly text: string }> {
    return this.body((bytes) => jsonOf(bytes, this.raw.headers.get('content-type')))
  }

  holdOpen(): () => void {
    this.held = true
    return this.#release
  }
}
