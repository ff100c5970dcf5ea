/**
 * Who may talk to a gateway that has no access control: programs of this machine, and pages that it served itself.
 *
 * A page of another site can reach a loopback port in two ways. By a name that resolves to 127.0.0.1 (DNS rebinding): the `Host`
 * header is then not one of ours. Or straight, as a cross-origin request: `Origin` or `Sec-Fetch-Site` then says so.
 */
import type { MiddlewareHandler } from 'hono'
import { MillraceError } from '../base/errors.ts'

export const LOOPBACK_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

/** Refuses requests to other hosts, and from other origins than the allowed ones. `hosts` null takes any. */
export function originGuard(hosts: readonly string[] | null, origins: readonly string[]): MiddlewareHandler {
  const names = hosts === null ? null : new Set(hosts.map((host) => host.toLowerCase()))
  const allowed = new Set(origins)
  return async (c, next) => {
    const host = c.req.header('host') ?? new URL(c.req.url).host
    if (names !== null && !names.has(hostnameOf(host))) {
      throw new MillraceError(
        'FORBIDDEN',
        `host "${host.slice(0, 100)}" is not served here: ask for ${[...names].join(' or ')}, or name it in the gateway's hosts`,
        { host },
      )
    }
    const origin = c.req.header('origin')
    const foreign =
      origin === undefined ? c.req.header('sec-fetch-site') === 'cross-site' && c.req.header('sec-fetch-mode') !== 'navigate' : !sameHost(origin, host)
    if (foreign && !(origin !== undefined && allowed.has(origin))) {
      throw new MillraceError(
        'FORBIDDEN',
        `pages of ${origin?.slice(0, 100) ?? 'another site'} may not use this gateway: name the origin in its cors.origins`,
        {
          origin: origin ?? null,
        },
      )
    }
    await next()
  }
}

function hostnameOf(host: string): string {
  return host.replace(/:\d*$/, '').toLowerCase()
}

function sameHost(origin: string, host: string): boolean {
  try {
    return new URL(origin).host === host.toLowerCase()
  } catch {
    return false
  }
}
