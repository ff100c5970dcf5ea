/** The place of an event as one text, for the `after` of a page: `CHANNEL/OFFSET`. */
import { isName } from '../base/names.ts'
import type { EventPlace } from '../broker/description.ts'
import { badRequest } from './problem.ts'

export function placeText(place: EventPlace | null): string | null {
  return place === null ? null : `${place.channel}/${place.offset}`
}

/** The place of an event in a query parameter. @throws INVALID_REQUEST when it is malformed */
export function placeOf(parameter: string, text: string): EventPlace {
  const [, channel, digits] = /^([^/]{1,1000})\/(\d{1,16})$/.exec(text) ?? []
  const offset = Number(digits)
  if (isName(channel) && Number.isSafeInteger(offset)) return { channel, offset }
  throw badRequest(400, `${parameter} must be CHANNEL/OFFSET, as the answer before gave it`, { parameter })
}
