/** The rule versions of each channel, in an index: the matching ones are found without evaluating each of them. */
import type { StoredEvent } from '../../event/cloud-event.ts'
import { decodeEvent } from '../../event/encode.ts'
import { RuleIndex } from '../../pattern/rule-index.ts'
import { inForce, type RuleVersion, type TableListener } from './rule-table.ts'

/** An event as a router receives it. */
export interface MatchableText {
  readonly channel: string
  readonly offset: number
  readonly text: string
}

export interface Matched {
  readonly versions: readonly RuleVersion[]
  /** The parsed event; `null` if no version was found in the index, so that parsing was not necessary. */
  readonly event: StoredEvent | null
}

const NOTHING: Matched = { versions: [], event: null }

/** The rule versions that name one channel or wildcard. */
export class ChannelRules {
  readonly #index = new RuleIndex()
  readonly #indexed = new Map<string, RuleVersion>()
  /** Versions without a pattern for the index. They are evaluated for every event. */
  readonly #unindexed = new Set<RuleVersion>()
  readonly #versions = new Set<RuleVersion>()

  /** All versions with this channel, including those that ended and are still kept. */
  get versions(): ReadonlySet<RuleVersion> {
    return this.#versions
  }

  add(version: RuleVersion): void {
    const { rule } = version
    if (rule === null) return
    this.#versions.add(version)
    if (!version.change.enabled) return
    if (rule.condition.indexed === null) this.#unindexed.add(version)
    else {
      const key = String(version.offset)
      this.#index.add(key, rule.condition.indexed)
      this.#indexed.set(key, version)
    }
  }

  remove(version: RuleVersion): void {
    this.#versions.delete(version)
    this.#unindexed.delete(version)
    const key = String(version.offset)
    if (this.#indexed.delete(key)) this.#index.remove(key)
  }

  /** The versions that are in force at the event's offset and match it, by name. @throws INVALID_EVENT */
  match({ channel, offset, text }: MatchableText): Matched {
    const found: RuleVersion[] = []
    for (const key of this.#index.match(text)) {
      const version = this.#indexed.get(key) as RuleVersion
      if (inForce(version, channel, offset)) found.push(version)
    }
    for (const version of this.#unindexed) if (inForce(version, channel, offset)) found.push(version)
    if (found.length === 0) return NOTHING
    const event = decodeEvent(text, offset)
    const versions = withTrueExpression(found, text)
    return { versions: versions.sort((a, b) => (a.name < b.name ? -1 : 1)), event }
  }
}

/**
 * The versions without an expression, and those whose expression is true for the event. An expression is evaluated for
 * the published event, which has no offset.
 */
function withTrueExpression(versions: readonly RuleVersion[], text: string): RuleVersion[] {
  let published: object | null = null
  return versions.filter(({ rule }) => {
    const expression = rule?.condition.expression ?? null
    if (expression === null) return true
    published ??= JSON.parse(text) as object
    return expression.matches(published)
  })
}

/** One `ChannelRules` for each channel or wildcard that a rule names. */
export class RulesByChannel implements TableListener {
  readonly channels: Map<string, ChannelRules> = new Map()

  of(on: string): ChannelRules | undefined {
    return this.channels.get(on)
  }

  added(version: RuleVersion): void {
    for (const on of version.rule?.on ?? []) {
      let rules = this.channels.get(on)
      if (rules === undefined) {
        rules = new ChannelRules()
        this.channels.set(on, rules)
      }
      rules.add(version)
    }
  }

  forgotten(version: RuleVersion): void {
    for (const on of version.rule?.on ?? []) this.channels.get(on)?.remove(version)
  }
}
