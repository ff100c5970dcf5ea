/** Names and settings of Millrace's topics. */
import type { ChannelSpec } from '../../channel/channel.ts'
import type { TopicPlan } from './requests.ts'

/** What makes a write survive: a sync of every batch, or copies on several brokers. */
export type Durability = 'synced' | 'replicated'

/** The largest batch, and so the largest event. Kafka's own limit of a request is 100 MiB. */
export const BATCH_BYTES_MAX: number = 48 * 1024 * 1024
const NOTES_MS = 600_000
const NEVER = '9223372036854775807'
const SEGMENT_MS_MIN = 60_000
const HIDDEN = '__millrace'

export class TopicPlans {
  readonly #prefix: string
  readonly #durability: Durability
  readonly #replicas: number

  constructor(prefix: string, durability: Durability, replicas: number) {
    this.#prefix = prefix
    this.#durability = durability
    this.#replicas = replicas
  }

  get registry(): TopicPlan {
    return this.#plan(`${HIDDEN}.registry`, { 'cleanup.policy': 'compact', ...this.#durable })
  }

  /** Heartbeats are useless after some minutes, and need no sync. */
  get notes(): TopicPlan {
    return this.#plan(`${HIDDEN}.members`, {
      'retention.ms': String(NOTES_MS),
      'segment.ms': String(NOTES_MS),
      'flush.messages': NEVER,
    })
  }

  consumerLog(group: string): TopicPlan {
    return this.#plan(`${HIDDEN}.journal.${topicWord(group.replaceAll('~', ''))}`, {
      'retention.ms': '-1',
      'retention.bytes': '-1',
      ...this.#durable,
    })
  }

  channel(spec: ChannelSpec): TopicPlan {
    return this.#plan(topicWord(spec.name), this.channelConfigs(spec))
  }

  /** Settings that follow from the declaration of the channel. */
  channelConfigs({ retain, dedupe }: ChannelSpec): Record<string, string> {
    // Ids are looked for in stored records, so these are kept as long as the window. Readers skip events that are too
    // old.
    const keptMs = retain.ageMs === null ? null : Math.max(retain.ageMs, dedupe?.ageMs ?? 0)
    return {
      'cleanup.policy': retain.latestByKey ? (keptMs === null ? 'compact' : 'compact,delete') : 'delete',
      'retention.ms': keptMs === null ? '-1' : String(keptMs),
      'retention.bytes': '-1',
      'segment.ms': keptMs === null ? '' : String(Math.max(keptMs, SEGMENT_MS_MIN)),
      ...this.#durable,
    }
  }

  get #durable(): Record<string, string> {
    return this.#durability === 'synced' ? { 'flush.messages': '1' } : { 'min.insync.replicas': '2' }
  }

  #plan(name: string, configs: Readonly<Record<string, string>>): TopicPlan {
    const all = {
      'message.timestamp.type': 'LogAppendTime',
      'max.message.bytes': String(BATCH_BYTES_MAX),
      'unclean.leader.election.enable': 'false',
      ...configs,
    }
    return {
      name: `${this.#prefix}${name}`,
      replicas: this.#replicas,
      configs: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== '')),
    }
  }
}

/** A name as a topic may have it. Kafka does not permit `$`. Names that begin with `~` are not for people. */
function topicWord(name: string): string {
  const word = name.startsWith('~') ? `${HIDDEN}.${name.slice(1)}` : name
  return word.replaceAll('$', '-dollar-').replaceAll('~', '').replaceAll('/', '.')
}
