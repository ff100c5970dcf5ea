/** `GET /openapi.json`, and the answer to a plain GET on a path that only supports upgrades. */
import { VERSION } from '../base/version.ts'
import { openApiOf } from './openapi.ts'
import { badRequest, problem } from './problem.ts'
import type { GatewayPart, Route } from './route.ts'
import { json } from './schemas.ts'

/** The part that documents all parts, including itself. */
export function documentPart(parts: readonly GatewayPart[]): GatewayPart {
  let text: string | undefined
  const route: Route = {
    method: 'GET',
    path: '/openapi.json',
    name: 'openApi',
    summary: 'Show this document.',
    tag: 'operation',
    access: 'open',
    answers: { 200: { description: 'OpenAPI 3.1.', content: json({ type: 'object' }) } },
    handle: () => {
      const routes = [...parts.flatMap((part) => part.routes), route]
      text ??= JSON.stringify(
        openApiOf(
          routes,
          parts.flatMap((part) => part.upgrades ?? []),
          VERSION,
        ),
      )
      return new Response(text, { headers: { 'content-type': 'application/json' } })
    },
  }
  return { routes: [route] }
}

/** Paths that support an upgrade and no plain GET. */
export function upgradePaths(parts: readonly GatewayPart[]): readonly string[] {
  const served = new Set(
    parts.flatMap(({ routes }) => routes.filter(({ method }) => method === 'GET').map(({ path }) => path)),
  )
  return parts.flatMap((part) => part.upgrades ?? []).flatMap(({ path }) => (served.has(path) ? [] : [path]))
}

export function upgradeRequired(method: string, path: string): Response {
  if (method === 'GET')
    return problem(badRequest(426, `${path} is a WebSocket: ask for an upgrade`), {
      upgrade: 'websocket',
      connection: 'upgrade',
    })
  return problem(badRequest(405, `${path} does not accept ${method}: use GET, with an upgrade`), { allow: 'GET' })
}
