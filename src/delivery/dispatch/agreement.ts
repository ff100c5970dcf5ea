/**
 * The instances of one consumer share its events. If their options differ, an event may reach an instance without a
 * handler for it, or be settled by other rules. An alarm says so, and lasts while such instances run.
 */
import { createHash } from 'node:crypto'
import { ownerOf } from '../../base/names.ts'
import type { AlarmList } from '../../broker/alarm-list.ts'
import type { ConsumerSpec } from '../../broker/engine.ts'

/**
 * The options in which all instances of a consumer should agree, each as a short text. Credit is not one of them:
 * instances may differ in it.
 */
export interface Shape {
  readonly channels: string
  readonly handlers: string
  /** Whether the consumer has a key of its own. */
  readonly key: string
  readonly onDead: string
  readonly attempts: string
  readonly lease: string
}

const PARTS = {
  channels: 'their channels',
  handlers: 'the events that they handle',
  key: 'key',
  onDead: 'onDead',
  attempts: 'retry.attempts',
  lease: 'lease',
} as const satisfies Record<keyof Shape, string>
const NAMES = Object.keys(PARTS) as (keyof Shape)[]
const DIGEST_CHARS = 12
const CHANNEL_KEY = 'channel'

export function shapeOf({ channels, wants, keyOf, onDead, attemptsMax, leaseMs }: ConsumerSpec): Shape {
  return {
    channels: digestOf(channels),
    handlers: digestOf(wants.map(({ type, pattern }) => JSON.stringify([type, pattern]))),
    key: keyOf === undefined ? CHANNEL_KEY : 'own',
    onDead: String(onDead),
    attempts: String(attemptsMax),
    lease: String(leaseMs),
  }
}

/** The shape in a member's note. Null if the note has none, because an older version or another client wrote it. */
export function shapeIn(value: unknown): Shape | null {
  // Members of earlier versions have no own keys.
  const shape =
    typeof value === 'object' && value !== null ? { key: CHANNEL_KEY, ...(value as Record<string, unknown>) } : null
  return shape !== null && NAMES.every((name) => typeof (shape as Record<string, unknown>)[name] === 'string')
    ? (shape as unknown as Shape)
    : null
}

function digestOf(texts: readonly string[]): string {
  return createHash('sha256')
    .update([...new Set(texts)].sort().join('\n'))
    .digest('base64url')
    .slice(0, DIGEST_CHARS)
}

export class Agreement {
  readonly #alarms: AlarmList

  constructor(alarms: AlarmList) {
    this.#alarms = alarms
  }

  /** Compare the instances of a consumer in this engine. */
  compare(consumer: string, instances: Iterable<{ readonly spec: ConsumerSpec; readonly shape: Shape }>): void {
    this.check(
      consumer,
      [...instances].filter(({ spec }) => spec.name === consumer).map(({ shape }) => shape),
    )
  }

  /** Compare the shapes of a consumer's running instances, as far as one group sees them. */
  check(consumer: string, shapes: readonly Shape[], group = ''): void {
    const key = `differs ${group} ${consumer}`
    const [first] = shapes
    const parts = NAMES.filter((name) => shapes.some((shape) => shape[name] !== first?.[name]))
    if (parts.length === 0 || ownerOf(consumer) !== null) this.#alarms.end(key)
    else {
      const what = parts.map((name) => PARTS[name]).join(', ')
      this.#alarms.raise(
        'CONSUMER_DIFFERS',
        `running instances of consumer "${consumer}" differ in ${what}: they share its events, so some events reach an instance that was not meant for them. ` +
          'Give one of them another name, or run the same version everywhere',
        key,
      )
    }
  }
}
