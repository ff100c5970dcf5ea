/** What a member of a group says with each heartbeat (clauses 4, 11 and 17). Other members read it. */
import { MillraceError } from '../../base/errors.ts'
import { isJsonObject, isNumberFrom, jsonObject } from '../../base/json-object.ts'
import { isWildcard, isWildcardForm } from '../../base/names.ts'
import type { CountedInstance } from '../../delivery/consumers/homes.ts'
import type { Shape } from '../../delivery/dispatch/agreement.ts'
import { isCounted } from './counted-note.ts'

/** The member name under which orders to a group are stored. */
export const ORDERS = '~orders'

/** The content of a member's heartbeat. */
export interface MemberNote {
  /** Grows with each heartbeat. */
  readonly beat: number
  readonly leaseMs: number
  readonly channels: readonly string[]
  /** The member takes no events now: it is paused, or its workers hang. */
  readonly idle: boolean
  readonly instances: number
  readonly inFlight: number
  readonly paused: boolean
  readonly rate: number
  /** What its instances have counted. Notes of older versions do not have this. */
  readonly counted?: readonly CountedInstance[]
  /** Channels in which a dead letter of this member stops the consumer. */
  readonly blocked: readonly string[]
  /**
   * For each consumer that runs in this member: the options in which its instances must agree, of one of its instances.
   * Notes of older versions do not have this.
   */
  readonly shapes?: Readonly<Record<string, Shape>>
  /**
   * The versions of events above 1 that the member's instances know, by type: the newest of each. Notes of older
   * versions do not have this.
   */
  readonly versions?: Readonly<Record<string, number>>
  /** The member shares out partitions by stripes (`stripes.ts`). Members of older versions do not. */
  readonly lanes?: boolean
}

/** The note in a text, or null if another client wrote the text. */
export function memberNoteIn(text: string): MemberNote | null {
  const note = jsonObject(text)
  if (
    note === null ||
    !['beat', 'leaseMs', 'instances', 'inFlight', 'rate'].every((name) => isNumberFrom(note[name], 0))
  )
    return null
  if (typeof note['idle'] !== 'boolean' || typeof note['paused'] !== 'boolean') return null
  for (const name of ['shapes', 'versions']) if (note[name] !== undefined && !isJsonObject(note[name])) return null
  if (note['counted'] !== undefined && !isCounted(note['counted'])) return null
  return isTexts(note['channels']) && note['channels'].every(isChannelOrWildcard) && isTexts(note['blocked'])
    ? (note as unknown as MemberNote)
    : null
}

export function notANote(group: string, member: string): MillraceError {
  const message = `member ${JSON.stringify(member.slice(0, 60))} of group "${group}" left a heartbeat that is not Millrace's, and is ignored: another client wrote it`
  return new MillraceError('DATA_DAMAGED', message, { consumer: group })
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}

/** A wildcard that cannot be compiled would make each look at the members fail. */
function isChannelOrWildcard(text: string): boolean {
  return !isWildcard(text) || isWildcardForm(text)
}
