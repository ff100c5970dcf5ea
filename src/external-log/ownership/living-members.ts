/**
 * The members of a group as this member sees them by their heartbeats, and the orders that are given to the group.
 *
 * This is where the lease of another process ends: a member whose note has not changed within its lease is dead for the
 * others (`lives`).
 */
import type { Clock } from '../../base/clock.ts'
import type { LogBackend } from '../log-backend.ts'
import { type MemberNote, memberNoteIn, notANote, ORDERS } from './member-note.ts'

const NO_ORDERS = ''

interface Sighting {
  readonly text: string
  readonly note: MemberNote
  readonly sinceMs: number
  /** The note has changed since it was first seen. The note of a member that died may stand for a long time. */
  readonly heard: boolean
}

export interface LivingMembersHost {
  readonly backend: Pick<LogBackend, 'members'>
  /** The name of this member. */
  readonly member: string
  readonly clock: Pick<Clock, 'elapsed'>
  alarm(error: unknown): void
}

export class LivingMembers {
  readonly #group: string
  readonly #host: LivingMembersHost
  #seen = new Map<string, Sighting>()
  /** The last orders that were seen; null before the first look. */
  #orders: string | null = null

  constructor(group: string, host: LivingMembersHost) {
    this.#group = group
    this.#host = host
  }

  /** The members that live, and whether the group was given orders since the last look. */
  async look(): Promise<{ readonly alive: ReadonlyMap<string, MemberNote>; readonly ordered: boolean }> {
    const said = await this.#host.backend.members(this.#group)
    const now = this.#host.clock.elapsed()
    const seen = new Map<string, Sighting>()
    for (const [member, text] of said) {
      if (member === ORDERS) continue
      const before = this.#seen.get(member)
      const same = before !== undefined && before.text === text
      const note = same ? before.note : memberNoteIn(text)
      if (note === null) this.#host.alarm(notANote(this.#group, member))
      else seen.set(member, same ? before : { text, note, sinceMs: now, heard: before !== undefined })
    }
    this.#seen = seen
    const alive = new Map<string, MemberNote>()
    for (const [member, { note }] of seen) if (this.lives(member) !== false) alive.set(member, note)
    const orders = said.get(ORDERS) ?? NO_ORDERS
    const ordered = orders !== this.#orders && this.#orders !== null && orders !== NO_ORDERS
    this.#orders = orders
    return { alive, ordered }
  }

  /**
   * Whether a member lives: its note has changed within its lease. Null if the note was seen within the lease, but has
   * not changed yet.
   */
  lives(member: string): boolean | null {
    if (this.isMe(member)) return true
    const seen = this.#seen.get(member)
    if (seen === undefined || this.#host.clock.elapsed() - seen.sinceMs > seen.note.leaseMs) return false
    return seen.heard || null
  }

  isMe(member: string): boolean {
    return member === this.#host.member
  }
}
