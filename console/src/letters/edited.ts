/**
 * Makes the corrected event of a dead letter: a new event, with the dead letter as its cause, and with a list of the
 * changes.
 */
import type { CloudEvent } from '../api/types.ts'

export interface Change {
  /** A JSON pointer. */
  readonly path: string
  readonly before: string
  readonly after: string
}

const CHANGES_MAX = 200
const ATTRIBUTE_MAX = 3500

export function differences(before: unknown, after: unknown, path = ''): Change[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return []
  if (!isObject(before) || !isObject(after) || Array.isArray(before) !== Array.isArray(after))
    return [{ path: path === '' ? '/' : path, before: textOf(before), after: textOf(after) }]
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names
    .flatMap((name) =>
      differences(before[name], after[name], `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`),
    )
    .slice(0, CHANGES_MAX)
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function textOf(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value)
}

/**
 * The id is made from the letter's id and the new data, so the same correction is stored once even if it is sent twice.
 */
export function editedEvent(event: CloudEvent, data: unknown, changes: readonly Change[], reason: string): CloudEvent {
  const { time: _, ...kept } = event
  const difference = JSON.stringify(changes.map(({ path, before, after }) => [path, before, after]))
  return {
    ...kept,
    id: `${event.id.slice(0, 3900)}-edited-${hashOf(JSON.stringify(data ?? null))}`,
    data,
    causationid: event.id,
    correlationid: event.correlationid ?? event.id,
    editdifference:
      difference.length <= ATTRIBUTE_MAX
        ? difference
        : JSON.stringify(changes.map(({ path }) => path)).slice(0, ATTRIBUTE_MAX),
    ...(reason !== '' && { editreason: reason }),
  }
}

/** FNV-1a: it tells corrections apart, and is no protection. */
function hashOf(text: string): string {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}
