/**
 * Fills `EventFields` from a parsed event, as the scanner does from text. A key with dots means nested fields, arrays
 * are searched at any depth, and values that JSON cannot represent are ignored.
 */

import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { EventFields } from './event-fields.ts'
import { NumberText, parseNumber } from './number-text.ts'
import type { PathNode } from './path-tree.ts'

const DEPTH_MAX = LIMITS.dataDepthMax * 2

/** Collect the values of the fields below `root`. @throws INVALID_EVENT when the event is nested too deeply */
export function walkEvent(event: object, root: PathNode, fields: EventFields): void {
  fields.begin()
  walkObject(event, root, 0, fields, 0)
}

function walkObject(object: object, node: PathNode, element: number, fields: EventFields, depth: number): void {
  if (depth > DEPTH_MAX)
    throw new MillraceError('INVALID_EVENT', `the event nests deeper than ${DEPTH_MAX} levels`, { depth })
  const record = object as Readonly<Record<string, unknown>>
  for (const key of Object.keys(record)) {
    const child = node.children.get(key) ?? (key.includes('.') ? nodeOfDottedKey(node, key) : undefined)
    if (child !== undefined) walkValue(record[key], child, element, fields, depth)
  }
}

/** The node of a key with dots, if patterns name it. */
export function nodeOfDottedKey(node: PathNode, key: string): PathNode | undefined {
  let found: PathNode | undefined = node
  for (const name of key.split('.')) {
    found = found.children.get(name)
    if (found === undefined) return undefined
  }
  return found
}

function walkValue(value: unknown, node: PathNode, element: number, fields: EventFields, depth: number): void {
  if (typeof value !== 'object' || value === null || value instanceof NumberText) {
    if (node.uses > 0) addScalar(value, node, element, fields)
  } else if (Array.isArray(value)) {
    walkArray(value, node, element, fields, depth + 1)
  } else {
    const json = jsonOf(value)
    if (json === value) walkObject(value, node, element, fields, depth + 1)
    else walkValue(json, node, element, fields, depth + 1)
  }
}

/** Dates and similar objects are matched as their JSON form. */
function jsonOf(value: object): unknown {
  const { toJSON } = value as { toJSON?: unknown }
  return typeof toJSON === 'function' ? (toJSON as () => unknown).call(value) : value
}

function walkArray(
  array: readonly unknown[],
  node: PathNode,
  parent: number,
  fields: EventFields,
  depth: number,
): void {
  if (depth > DEPTH_MAX)
    throw new MillraceError('INVALID_EVENT', `the event nests deeper than ${DEPTH_MAX} levels`, { depth })
  const id = fields.openArray(node)
  for (const value of array) {
    if (typeof value !== 'object' || value === null || value instanceof NumberText) {
      if (node.uses > 0) addScalar(value, node, parent, fields)
      continue
    }
    const element = fields.openElement(id, parent)
    walkValue(value, node, element, fields, depth)
    fields.closeElement(element)
  }
  fields.closeArray(id)
}

function addScalar(value: unknown, node: PathNode, element: number, fields: EventFields): void {
  if (typeof value === 'string') fields.addString(node, element, value)
  else if (typeof value === 'number' && Number.isFinite(value)) fields.addNumber(node, element, value, undefined)
  else if (typeof value === 'boolean' || value === null || typeof value === 'number')
    fields.addLiteral(node, element, typeof value === 'number' ? null : value)
  else if (typeof value === 'bigint') addExact(parseNumber(String(value)), node, element, fields)
  else if (value instanceof NumberText) addExact(value, node, element, fields)
}

function addExact(value: number | NumberText, node: PathNode, element: number, fields: EventFields): void {
  if (value instanceof NumberText) fields.addNumber(node, element, Number(value.text), value.text)
  else fields.addNumber(node, element, value, undefined)
}
