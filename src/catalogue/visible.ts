/** What a caller may see of a look: the channels that it may see, and examples of those that it may read. */
import { jsonObject } from '../base/json-object.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { ChannelMask } from '../channel/channel-mask.ts'
import { newestOf } from '../channel/merged-spec.ts'
import { versionOf } from '../event/event-version.ts'
import { unmasked } from '../event/sensitive/masked-event.ts'
import type { CatalogueFacts, SeenExample, SeenType } from './catalogue.ts'
import type { Looked } from './look.ts'
import type { Maker } from './makers.ts'
import { type RuleFacts, takesChannel } from './rule-facts.ts'
import { schemasOf } from './schema-versions.ts'
import type { NewestEvent, SeenNewest } from './seen-events.ts'

export interface Viewer {
  /** Whether the channel is shown, with its types, schemas and who uses it. */
  sees(channel: string): boolean
  /** Whether data of its events is shown. */
  reads(channel: string): boolean
}

export function visibleFacts({ channels, consumers, rules, seen, unread }: Looked, viewer: Viewer): CatalogueFacts {
  const shown = channels.filter(({ name }) => viewer.sees(name))
  const readers = consumers.flatMap(({ name, channels: taken }) => {
    const own = taken.filter((channel) => viewer.sees(channel))
    return own.length === 0 ? [] : [{ name, channels: own }]
  })
  const seenRules = rules.flatMap((rule) => visibleRule(rule, shown, viewer))
  const known = {
    consumer: new Set(readers.map(({ name }) => name)),
    rule: new Set(seenRules.map(({ name }) => name)),
  }
  const isKnown = ({ kind, name }: Maker): boolean => kind === 'source' || known[kind].has(name)
  const specs = new Map(shown.map((spec) => [spec.name, spec]))
  return {
    channels: shown,
    consumers: readers,
    rules: seenRules,
    seen: seen.flatMap((each) => {
      const spec = specs.get(each.channel)
      return spec === undefined ? [] : [visibleType(each, spec, isKnown, viewer)]
    }),
    unread: unread.filter(({ channel }) => viewer.sees(channel ?? '>')),
  }
}

/** A rule on wildcards is shown as a rule on the channels that the caller sees. */
function visibleRule(rule: RuleFacts, shown: readonly ChannelSpec[], viewer: Viewer): readonly RuleFacts[] {
  if (viewer.sees('>')) return [rule]
  const on = shown.map(({ name }) => name).filter((channel) => takesChannel(rule.on, channel))
  if (on.length === 0) return []
  return [{ ...rule, on, writes: rule.writes.filter(({ channel }) => viewer.sees(channel)) }]
}

function visibleType(
  { channel, type, makers, newest }: SeenNewest,
  spec: ChannelSpec,
  isKnown: (maker: Maker) => boolean,
  viewer: Viewer,
): SeenType {
  const example = newest !== null && viewer.reads(channel) ? exampleOf(channel, type, newest, spec) : null
  return { channel, type, makers: makers.filter(isKnown), example }
}

/**
 * The newest event, with its sensitive fields masked. Where a schema of the type is not known, its marks are not known
 * either, so there is no example.
 */
function exampleOf(
  channel: string,
  type: string,
  { offset, text }: NewestEvent,
  spec: ChannelSpec,
): SeenExample | null {
  if (schemasOf(spec, type).some(({ state }) => state === 'opaque' || state === 'too large')) return null
  const masked = ChannelMask.of(spec)?.event(type, text) ?? unmasked(text)
  const event = jsonObject(masked.text)
  if (event === null) return null
  const version = versionOf(event)
  return version > newestOf(spec, type) ? null : { channel, offset, version, event, masked: masked.masked }
}
