/** Which handlers an event is for. */
import type { Want } from '../broker/engine.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { BatchRoute, Route } from './consumer.ts'
import type { HandlerContext } from './consumer-types.ts'

type AnyRoute = Route | BatchRoute

export class Router {
  /** Whether any handler takes batches. */
  readonly batches: boolean
  readonly #byType = new Map<string, AnyRoute[]>()
  readonly #any: Route[]
  readonly #routes: readonly AnyRoute[]

  constructor(routes: readonly AnyRoute[]) {
    this.#routes = routes
    this.batches = routes.some((route) => route.batch !== null)
    this.#any = routes.filter((route): route is Route => route.definition === null && route.batch === null)
    for (const route of routes) {
      if (route.definition === null) continue
      const { type } = route.definition
      this.#byType.set(type, [...(this.#byType.get(type) ?? []), route])
    }
  }

  /** What the engine is to deliver. */
  get wants(): Want[] {
    return this.#routes.map((route) => ({ type: route.definition?.type ?? null, pattern: route.pattern?.json ?? null }))
  }

  /** Call the handlers that the event is for, one after the other. A promise when one of them gives one. */
  handle(event: StoredEvent, ctx: HandlerContext): unknown {
    const routes = this.#byType.get(event.type)
    if (routes?.length === 1) {
      const [only] = routes as [AnyRoute]
      if (only.pattern === null && only.batch === null) return only.handler(event as never, ctx)
    }
    const matching = (routes ?? []).filter((route): route is Route => route.batch === null && (route.pattern?.compiled.matches(event) ?? true))
    return inTurn(matching.length === 0 && !this.#hasBatch(routes) ? this.#any : matching, event, ctx)
  }

  #hasBatch(routes: readonly AnyRoute[] | undefined): boolean {
    return routes?.some((route) => route.batch !== null) ?? false
  }

  batchRoute(event: StoredEvent): BatchRoute | null {
    return this.#byType.get(event.type)?.find((route): route is BatchRoute => route.batch !== null) ?? null
  }
}

async function inTurn(routes: readonly Route[], event: StoredEvent, ctx: HandlerContext): Promise<void> {
  for (const route of routes) await route.handler(event as never, ctx)
}
