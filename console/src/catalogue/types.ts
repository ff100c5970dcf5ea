/** The answer of `/catalogue`, as far as the pages use it. */
import type { CloudEvent } from '../api/types.ts'

export interface Producer {
  readonly kind: 'source' | 'consumer' | 'rule'
  readonly name: string
  readonly channel: string
  readonly certain: boolean
  readonly lastSeen: string | null
}

export interface Reader {
  readonly name: string
  readonly channel: string
}

export interface EventSchema {
  readonly version: number
  readonly earlier: boolean
  readonly state: 'known' | 'none' | 'opaque' | 'too large'
  readonly channels: readonly string[]
  readonly fingerprint: string | null
  readonly path: string | null
  readonly schema: unknown
}

export interface Example {
  readonly channel: string
  readonly offset: number
  readonly event: CloudEvent
  readonly masked: boolean
}

export interface EventEntry {
  readonly type: string
  readonly channels: readonly string[]
  readonly schemas: readonly EventSchema[]
  readonly producers: readonly Producer[]
  readonly consumers: readonly Reader[]
  readonly rules: readonly Reader[]
  readonly examples: readonly Example[]
}

export interface Catalogue {
  readonly events: readonly EventEntry[]
  readonly warnings: readonly { readonly code: string; readonly message: string; readonly type?: string }[]
}
