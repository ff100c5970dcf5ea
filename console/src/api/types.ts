/** The gateway's answers, as far as the page uses them. */

export interface CloudEvent {
  readonly id: string
  readonly source: string
  readonly type: string
  readonly time?: string
  readonly subject?: string
  readonly partitionkey?: string
  readonly causationid?: string
  readonly correlationid?: string
  readonly traceparent?: string
  readonly dataschema?: string
  readonly datacontenttype?: string
  readonly data?: unknown
  readonly data_base64?: string
  readonly [attribute: string]: unknown
}

export interface Placed {
  readonly offset: number
  readonly event: CloudEvent
}

export interface Page {
  readonly channel: string
  readonly events: readonly Placed[]
  readonly next: number | null
}

export interface ChannelDescription {
  readonly name: string
  readonly kind: 'stream' | 'queue'
  readonly types: readonly string[] | null
  readonly first: number
  readonly next: number
  readonly bytes: number | null
  readonly scheduled: number
  readonly rate: number
}

export interface ConsumerDescription {
  readonly name: string
  readonly channels: readonly {
    readonly channel: string
    /** Where it began, or was moved to last. */
    readonly began: number | null
    readonly floor: number
    readonly lag: number
    readonly lagMs: number
  }[]
  readonly instances: number
  readonly inFlight: number
  readonly retrying: number
  readonly deadLetters: number
  readonly parked: number
  readonly rate: number
  readonly paused: boolean
  readonly pause: { readonly sinceMs: number; readonly reason: string | null; readonly by: string | null } | null
  readonly stalled: { readonly sinceMs: number; readonly reason: string } | null
}

export interface Alarm {
  readonly code: string
  readonly message: string
  readonly sinceMs: number
}

export interface Description {
  readonly engine: string
  readonly channels: readonly ChannelDescription[]
  readonly consumers: readonly ConsumerDescription[]
  readonly alarms: readonly Alarm[]
}

export interface Failure {
  readonly name: string
  readonly message: string
  readonly stack?: string
  readonly code?: string
  readonly kind: string
}

export interface DeadLetter {
  readonly consumer: string
  readonly channel: string
  readonly offset: number
  readonly key: string | null
  readonly id: string
  readonly type: string
  readonly attempts: number
  readonly failure: Failure
  readonly deadAtMs: number
  readonly waiting: number
  readonly event: CloudEvent
}

export type PartKind = 'source' | 'channel' | 'consumer' | 'rule' | 'target'

export interface FlowPart {
  readonly id: string
  readonly kind: PartKind
  readonly name: string
  readonly detail?: string
}

export interface FlowLine {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly certain: boolean
}

/** The numbers of a part. Which of them exist depends on the part's kind. */
export interface PartNumbers {
  readonly rate?: number
  readonly first?: number
  readonly next?: number
  readonly bytes?: number | null
  readonly scheduled?: number
  readonly lag?: number
  readonly lagMs?: number
  readonly inFlight?: number
  readonly retrying?: number
  readonly deadLetters?: number
  readonly parked?: number
  readonly instances?: number
  readonly paused?: boolean
  readonly pause?: string | null
  readonly stalled?: string | null
  readonly enabled?: boolean
  readonly problem?: string | null
  readonly workers?: readonly string[]
  readonly lastMs?: number
  readonly goneMs?: number
}

export interface FlowMessage {
  readonly engine: string
  readonly parts: readonly FlowPart[]
  readonly lines: readonly FlowLine[]
  readonly alarms: readonly Alarm[]
  readonly numbers: {
    readonly parts: Readonly<Record<string, PartNumbers>>
    readonly lines: Readonly<Record<string, number>>
  }
}

/** The figures of a channel or a consumer over time. A null is a gap. */
export interface History {
  readonly stepMs: number
  readonly fromMs: number
  readonly figures: Readonly<Record<string, readonly (number | null)[]>>
}

export interface RuleDescription {
  readonly name: string
  readonly enabled: boolean
  readonly revision: number
  readonly definition: {
    readonly name: string
    readonly description?: string
    readonly on: string | readonly string[]
    readonly when?: unknown
    readonly then: unknown
  }
  readonly author: string
  readonly changedAt: string
  readonly file: string | null
  readonly problem: string | null
}
