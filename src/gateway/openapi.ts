/**
 * The OpenAPI 3.1 document of a gateway, generated from the routes that it serves, so the two always agree.
 * @see https://spec.openapis.org/oas/v3.1.1
 */
import { ERROR_CODES, type ErrorCode } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { STATUS } from './problem.ts'
import type { Content, Parameter, ResponseSpec, Route, UpgradeRoute } from './route.ts'
import { SCHEMAS } from './schemas.ts'

/** Part of the JSON document. */
type Json = Record<string, unknown>

const PROBLEM: Json = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }

const REASON: Parameter = {
  description: 'Why the caller does this: it cannot be undone, or it repeats work. Kept in the audit trail.',
  required: true,
  schema: { type: 'string', minLength: 1, maxLength: LIMITS.reasonCharsMax },
}

/** The OpenAPI document of the gateway, from its routes. */
export function openApiOf(routes: readonly Route[], upgrades: readonly UpgradeRoute[], version: string): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes)
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operationOf(route) }
  for (const upgrade of upgrades) paths[upgrade.path] = { ...paths[upgrade.path], get: upgradeOperationOf(upgrade) }
  const tags = [...new Set([...routes.map(({ tag }) => tag), ...(upgrades.length > 0 ? ['sockets'] : [])])]
  return {
    openapi: '3.1.0',
    info: {
      title: 'Millrace',
      version,
      description:
        'Events, channels and consumers over HTTP. Refusals are problem documents (RFC 9457) whose code is from a closed list.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: tags.map((name) => ({ name })),
    paths,
    components: {
      schemas: SCHEMAS,
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token of millrace tokens add, or a JWT. Needed if the gateway has access control.',
        },
        query: {
          type: 'apiKey',
          in: 'query',
          name: 'access_token',
          description: 'The same, for clients that cannot set a header.',
        },
      },
    },
  }
}

function operationOf(route: Route): Json {
  const parameters = [
    ...listed(route.parameters, 'path'),
    ...listed({ ...route.query, ...(route.needsReason === true && { reason: REASON }) }, 'query'),
    ...listed(route.headers, 'header'),
  ]
  return {
    operationId: route.name,
    summary: route.summary,
    ...(route.description !== undefined && { description: route.description }),
    tags: [route.tag],
    security: route.access === 'open' ? [] : [{ token: [] }, { query: [] }, {}],
    ...(typeof route.access === 'object' && { 'x-permission': route.access.action }),
    ...(parameters.length > 0 && { parameters }),
    ...(route.body !== undefined && { requestBody: { ...route.body, content: contentOf(route.body.content) } }),
    responses: {
      ...answersOf(route.answers),
      ...refusalsOf(route),
      default: { description: 'Something else went wrong.', content: PROBLEM },
    },
  }
}

function listed(
  parameters: Readonly<Record<string, Parameter>> | undefined,
  where: 'path' | 'query' | 'header',
): Json[] {
  return Object.entries(parameters ?? {}).map(([name, { description, schema, required }]) => ({
    name,
    in: where,
    description,
    schema,
    ...((required === true || where === 'path') && { required: true }),
  }))
}

function contentOf(content: Content): Json {
  return Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }]))
}

function answersOf(answers: Readonly<Record<number, ResponseSpec>>): Json {
  return Object.fromEntries(
    Object.entries(answers).map(([status, { description, content, headers }]) => [
      status,
      {
        description,
        ...(content !== undefined && { content: contentOf(content) }),
        ...(headers !== undefined && { headers }),
      },
    ]),
  )
}

/** The error responses of a route: the codes of each status. Statuses that the route describes itself are left out. */
function refusalsOf(route: Route): Json {
  const byStatus = new Map<number, string[]>()
  const add = (status: number, reason: string): void =>
    void byStatus.set(status, [...(byStatus.get(status) ?? []), reason])
  const addCode = (code: ErrorCode): void => add(STATUS[code], code)
  addCode('INVALID_REQUEST')
  if (route.access !== 'open') addCode('UNAUTHENTICATED')
  addCode('FORBIDDEN')
  if (route.unmetered !== true) addCode('RATE_LIMITED')
  if (route.body !== undefined) {
    addCode('REQUEST_TOO_LARGE')
    add(415, 'INVALID_REQUEST')
  }
  for (const code of route.refuses ?? []) if (!byStatus.get(STATUS[code])?.includes(code)) addCode(code)
  const refusals = [...byStatus]
    .filter(([status]) => route.answers[status] === undefined)
    .sort(([one], [other]) => one - other)
  return Object.fromEntries(
    refusals.map(([status, codes]) => [status, { description: codes.map(described).join(' · '), content: PROBLEM }]),
  )
}

function described(code: string): string {
  return code in ERROR_CODES && ERROR_CODES[code as ErrorCode].retryable ? `${code} (try again)` : code
}

function upgradeOperationOf({ name, summary }: UpgradeRoute): Json {
  const refusal = (description: string): Json => ({ description, content: PROBLEM })
  return {
    operationId: name,
    summary,
    tags: ['sockets'],
    security: [{ token: [] }, { query: [] }, {}],
    responses: {
      101: { description: 'A WebSocket.' },
      401: refusal('UNAUTHENTICATED'),
      403: refusal('FORBIDDEN'),
      426: refusal('INVALID_REQUEST: the request asks for no upgrade.'),
      429: refusal('RATE_LIMITED (try again)'),
      default: refusal('Something else went wrong.'),
    },
  }
}
