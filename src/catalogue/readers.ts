/** Which consumers and rules can have caused an event, from what they read and write. */
import { ownerOf } from '../base/names.ts'
import type { Readers } from './makers.ts'
import { channelTest } from './rule-facts.ts'

interface ReadingConsumer {
  readonly name: string
  readonly channels: readonly string[]
}

interface ReadingRule {
  readonly name: string
  /** Names and wildcards. */
  readonly on: readonly string[]
  /** The channels that it writes to. */
  readonly writes: readonly string[]
}

/** The consumers that run rules are left out: the rules stand for them. */
export function readersOf(consumers: readonly ReadingConsumer[], rules: readonly ReadingRule[]): Readers {
  const byChannel = new Map<string, string[]>()
  for (const { name, channels } of consumers.filter((each) => ownerOf(each.name) !== '$rules'))
    for (const channel of channels) byChannel.set(channel, [...(byChannel.get(channel) ?? []), name])
  const tested = rules.map(({ name, on, writes }) => ({ name, writes, takes: channelTest(on) }))
  return {
    consumersOf: (channel) => byChannel.get(channel) ?? [],
    rulesBetween: (from, to) =>
      tested.filter(({ writes, takes }) => writes.includes(to) && takes(from)).map(({ name }) => name),
  }
}
