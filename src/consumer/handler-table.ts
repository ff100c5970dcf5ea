/**
 * Finds and calls the handlers of an event. Patterns are matched with the event's text as it is stored, as in the
 * engine, and not with the output of a schema. The text of an event in an earlier version has the data that the upcasts
 * made.
 */
import type { Want } from '../broker/want.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import { hasVersions, newestText } from '../event/event-version.ts'
import { PatternSet } from '../pattern/pattern-set.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import type { HandlerContext } from './consumer-types.ts'
import type { BatchRoute, Route } from './plan.ts'

type AnyRoute = Route | BatchRoute

/** The handlers of one type of event, in the order of their registration. */
interface TypeRoutes {
  /** The handler, if there is exactly one and it takes every event of the type. */
  readonly only: Route | null
  readonly plain: readonly Route[]
  readonly batch: BatchRoute | null
  /** The index in `plain` of each handler with a pattern. */
  readonly filtered: readonly number[]
  readonly patterns: PatternSet
}

export class HandlerTable {
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

  /** The events that the engine delivers to this consumer. */
  get wants(): Want[] {
    return this.#routes.flatMap(({ definition, pattern }): Want[] => {
      const want = { type: definition?.type ?? null, pattern: pattern?.json ?? null }
      return pattern === null || definition === null || !hasVersions(definition)
        ? [want]
        : [want, inOtherVersions(definition)]
    })
  }

  /** Call the handlers of the event, one after the other. Returns a promise if one of them does. */
  handle(event: StoredEvent, ctx: HandlerContext, stored: { readonly text: string }): unknown {
    const routes = this.#byType.get(event.type)
    if (routes === undefined) return inTurn(this.#any, event, ctx)
    if (routes.only !== null) return routes.only.handler(event as never, ctx)
    const matching = matchingOf(routes, event, stored)
    return inTurn(matching.length === 0 && routes.batch === null ? this.#any : matching, event, ctx)
  }

  batchRoute(event: StoredEvent): BatchRoute | null {
    return this.#byType.get(event.type)?.batch ?? null
  }
}

/**
 * A pattern is about the newest version that the definition knows. Events in another version are delivered whatever
 * their data is: the pattern is matched after the upcasts, or the event waits for an instance that knows its version.
 */
function inOtherVersions({ type, version }: AnyEventDefinition): Want {
  const isOther = [{ 'anything-but': [version] }, ...(version > 1 ? [{ exists: false }] : [])]
  return { type, pattern: { type: [type], dataversion: isOther } as PatternJson }
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

function matchingOf(
  { plain, filtered, patterns }: TypeRoutes,
  event: StoredEvent,
  stored: { readonly text: string },
): readonly Route[] {
  if (filtered.length === 0) return plain
  const matched = patterns.which(newestText(event, stored))
  const out = new Set(filtered.filter((_, at) => !matched.has(at)))
  return plain.filter((_, at) => !out.has(at))
}

async function inTurn(routes: readonly Route[], event: StoredEvent, ctx: HandlerContext): Promise<void> {
  for (const route of routes) await route.handler(event as never, ctx)
}
