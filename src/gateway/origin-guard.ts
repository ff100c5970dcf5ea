/**
 * Decides which web pages may use a gateway: those that it served itself, and those of allowed origins. Programs send
 * no `Origin`.
 *
 * A page of another site can reach a loopback port in two ways:
 * - by a name that resolves to 127.0.0.1 (DNS rebinding); the `Host` header is then not one of ours;
 * - directly, as a cross-origin request; `Origin` or `Sec-Fetch-Site` then says so.
 *
 * The same checks apply to WebSockets, because browsers send no preflight for them.
 */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import type { Caller } from './access/caller.ts'

export const LOOPBACK_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

export class OriginGuard {
  readonly #hosts: () => readonly string[] | 'any'
  readonly #origins: ReadonlySet<string>

  /** @throws INVALID_OPTION for an origin that no page can have: it would silently admit nobody */
  constructor(hosts: () => readonly string[] | 'any', origins: readonly string[]) {
    for (const origin of origins) checkOrigin(origin)
    this.#hosts = hosts
    this.#origins = new Set(origins)
  }

  /** @throws FORBIDDEN for another host, and for a page of an origin that is not allowed */
  check(caller: Caller): void {
    const host = caller.header('host') ?? caller.url.host
    const hosts = this.#hosts()
    if (hosts !== 'any' && !hosts.some((each) => each.toLowerCase() === hostnameOf(host))) {
      throw new MillraceError(
        'FORBIDDEN',
        `host "${host.slice(0, 100)}" is not served here: use ${hosts.join(' or ')}, or add the name to the gateway's hosts`,
        { host: host.slice(0, 200) },
      )
    }
    const origin = caller.header('origin')
    const foreign =
      origin === undefined
        ? caller.header('sec-fetch-site') === 'cross-site' && caller.header('sec-fetch-mode') !== 'navigate'
        : !sameHost(origin, host) && !this.#origins.has(origin)
    if (!foreign) return
    throw new MillraceError(
      'FORBIDDEN',
      `pages of ${origin?.slice(0, 100) ?? 'another site'} may not use this gateway: add the origin to its cors.origins`,
      {
        origin: origin?.slice(0, 200) ?? null,
      },
    )
  }
}

function checkOrigin(origin: unknown): void {
  const url = typeof origin === 'string' && URL.canParse(origin) ? new URL(origin) : null
  const ofPage = url?.protocol.startsWith('http') === true
  if (ofPage && url.origin === origin) return
  const meant = ofPage ? `: did you mean "${url.origin}"?` : ''
  throw new MillraceError(
    'INVALID_OPTION',
    `cors.origins must be origins of pages, such as "https://shop.example"; one is ${shown(origin)}${meant}`,
    {
      option: 'cors.origins',
    },
  )
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
