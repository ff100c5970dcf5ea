/** The last heartbeats of the members of groups, in a topic that keeps them for some minutes. */
import type { KafkaClient } from './client.ts'
import { LATEST, offsetAt } from './requests.ts'
import { type LogFold, type LogRecord, TopicLog } from './topic-log.ts'

/** How far back a process that starts looks for notes of others. */
const LOOK_BACK_MS = 180_000
/** Separates the group and the member. No name contains it. */
const BETWEEN = '\0'

interface Note {
  readonly text: string
  readonly untilMs: number
}

export class MemberNotes implements LogFold {
  readonly #log: TopicLog
  readonly #groups = new Map<string, Map<string, Note>>()

  constructor(client: KafkaClient, topic: string) {
    const { library } = client
    const ask = (timeMs: number): Promise<number> =>
      client.leader(`reading ${topic}`, topic, 'ask', (connection) => offsetAt(library, connection, topic, timeMs))
    this.#log = new TopicLog(client, topic, 'notes', this, async () => {
      const from = await ask(Date.now() - LOOK_BACK_MS)
      return from < 0 ? ask(LATEST) : from
    })
  }

  beat(group: string, member: string, text: string, ttlMs: number): Promise<void> {
    return this.#log.write(`${group}${BETWEEN}${member}`, Buffer.from(text), String(ttlMs))
  }

  leave(group: string, member: string): Promise<void> {
    return this.#log.write(`${group}${BETWEEN}${member}`, null, '')
  }

  async of(group: string): Promise<ReadonlyMap<string, string>> {
    await this.#log.catchUp()
    const now = performance.now()
    const notes = new Map<string, string>()
    for (const [member, { text, untilMs }] of this.#groups.get(group) ?? []) {
      if (untilMs >= now) notes.set(member, text)
      else this.#groups.get(group)?.delete(member)
    }
    return notes
  }

  reset(): void {
    this.#groups.clear()
  }

  apply({ key, value, mark }: LogRecord): void {
    const [group = '', member = ''] = key.split(BETWEEN)
    const notes = this.#groups.get(group) ?? new Map<string, Note>()
    this.#groups.set(group, notes)
    if (value === null) notes.delete(member)
    else notes.set(member, { text: value.toString(), untilMs: performance.now() + Number(mark) })
  }
}
