/**
 * Which handlers an event is for. Patterns are asked of the event's text as it is stored, as the engine asks them: not of what a schema has
 * made of it.
 */
import type { Want } from '../broker/engine.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { PatternSet } from '../pattern/pattern-set.ts'
import type { BatchRoute, Route } from './consumer.ts'
import type { HandlerContext } from './consumer-types.ts'

type AnyRoute = Route | BatchRoute

/** The handlers of one type of event, in the order of their registration. */
interface TypeRoutes {
  /** The handler, where there is one and it takes every event. */
  readonly only: Route | null
  readonly plain: readonly Route[]
  readonly batch: BatchRoute | null
  /** Place of each pattern's handler in `plain`. */
  readonly filtered: readonly number[]
  readonly patterns: PatternSet
}

export class Router {
  /** Whether any handler takes batches. */
  readonly batches: boolean
  readonly #byType = new Map<string, TypeRoutes>()
  readonly #any: readonly Route[]
  readonly #routes: readonly AnyRoute[]

  constructor(routes: readonly AnyRoute[]) {
    this.#routes = routes
    this.batches = routes.some((route) => route.batch !== null)
    this.#any = routes.filter((route): route is Route => route.definition === null && route.batch === null)
    for (const type of new Set(routes.flatMap(({ definition }) => definition?.type ?? []))) {
      this.#byType.set(type, routesOf(routes.filter(({ definition }) => definition?.type === type)))
    }
  }

  /** What the engine is to deliver. */
  get wants(): Want[] {
    return this.#routes.map((route) => ({ type: route.definition?.type ?? null, pattern: route.pattern?.json ?? null }))
  }

  /** Call the handlers that the event is for, one after the other. A promise when one of them gives one. */
  handle(event: StoredEvent, ctx: HandlerContext, text: string): unknown {
    const routes = this.#byType.get(event.type)
    if (routes === undefined) return inTurn(this.#any, event, ctx)
    if (routes.only !== null) return routes.only.handler(event as never, ctx)
    const matching = matchingOf(routes, text)
    return inTurn(matching.length === 0 && routes.batch === null ? this.#any : matching, event, ctx)
  }

  batchRoute(event: StoredEvent): BatchRoute | null {
    return this.#byType.get(event.type)?.batch ?? null
  }
}

function routesOf(routes: readonly AnyRoute[]): TypeRoutes {
  const plain = routes.filter((route): route is Route => route.batch === null)
  const batch = routes.find((route): route is BatchRoute => route.batch !== null) ?? null
  const filtered = plain.flatMap(({ pattern }, at) => (pattern === null ? [] : [at]))
  const [only = null] = plain
  return {
    only: only?.pattern === null && plain.length === 1 && batch === null ? only : null,
    plain,
    batch,
    filtered,
    patterns: new PatternSet(plain.flatMap(({ pattern }) => (pattern === null ? [] : [pattern.json]))),
  }
}

function matchingOf({ plain, filtered, patterns }: TypeRoutes, text: string): readonly Route[] {
  if (filtered.length === 0) return plain
  const matched = patterns.which(text)
  const out = new Set(filtered.filter((_, place) => !matched.has(place)))
  return plain.filter((_, at) => !out.has(at))
}

async function inTurn(routes: readonly Route[], event: StoredEvent, ctx: HandlerContext): Promise<void> {
  for (const route of routes) await route.handler(event as never, ctx)
}
