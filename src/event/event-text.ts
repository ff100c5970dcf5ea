/** An event as error messages name it. */
import { shown } from '../base/shown.ts'

/** `event "cart.item.added" (id 01…)`, without the id where it has none yet. */
export function eventText({ type, id }: { readonly type?: unknown; readonly id?: unknown }): string {
  return `event ${shown(type)}${id === undefined || id === null ? '' : ` (id ${typeof id === 'string' ? shown(id).slice(1, -1) : shown(id)})`}`
}
