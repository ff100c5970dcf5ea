/** An event as a program declares it, compared with the same event as it was declared before. */
import type { JsonObject } from '../base/json-object.ts'
import { type DeclaredEvent, nameOf } from './declared-events.ts'
import { textOf } from './lock-file.ts'
import { type CompatibilityMode, judgeChange, type SchemaBreak } from './schema-change.ts'

/** A break of one version of an event. A dropped version has no example. */
export interface EventBreak extends Omit<SchemaBreak, 'example'> {
  readonly version: number
  readonly example?: unknown
}

export interface EventVerdict {
  /** `order.paid in payments`. */
  readonly event: string
  readonly channel: string | null
  readonly type: string
  readonly verdict: 'compatible' | 'incompatible' | 'unknown'
  /** Whether a version or a schema differs at all. */
  readonly changed: boolean
  readonly breaks: readonly EventBreak[]
  readonly undecided: readonly string[]
}

/** What was declared before: the schemas of each version, the latest first. */
export interface Before {
  readonly version: number
  readonly versions: readonly string[]
  schemas(version: string): readonly JsonObject[]
}

/** An event whose earlier schemas are not known, as what was declared before. */
export function beforeOf({ version, schemas }: DeclaredEvent): Before {
  return {
    version,
    versions: Object.keys(schemas),
    schemas: (number) => [schemas[number] ?? null].filter((schema) => schema !== null),
  }
}

export function judgeEvent(before: Before, after: DeclaredEvent, mode: CompatibilityMode): EventVerdict {
  const breaks: EventBreak[] = []
  const undecided: string[] = []
  let changed = before.version !== after.version
  for (const version of before.versions) {
    const number = Number(version)
    if (!Object.hasOwn(after.schemas, version)) {
      changed = true
      const message = `version ${version} is not in the definition any more: events of it cannot be read`
      breaks.push({ direction: 'backward', version: number, path: 'data', message })
      continue
    }
    const [schema, schemas] = [after.schemas[version] ?? null, before.schemas(version)]
    const [last] = schemas
    if (textOf(last ?? null) !== textOf(schema)) changed = true
    else if (!mode.endsWith('-transitive') || schema === null) continue
    if (schema === null || last === undefined) {
      undecided.push(`version ${version}: no JSON Schema`)
      continue
    }
    const judged = judgeChange(schemas, schema, mode)
    breaks.push(...judged.breaks.map((found) => ({ version: number, ...found })))
    undecided.push(...judged.undecided.map((text) => `version ${version}: ${text}`))
  }
  const verdict = breaks.length > 0 ? 'incompatible' : undecided.length > 0 ? 'unknown' : 'compatible'
  const { channel, type } = after
  return { event: nameOf(after), channel, type, verdict, changed, breaks, undecided }
}
