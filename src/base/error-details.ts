/**
 * The members of an error's `details`, for each code. `isMillraceError(error, code)` narrows to it, and
 * `docs/errors.md` lists it.
 *
 * A member is always there unless it is optional: then it depends on what failed. A test reads this file, and compares
 * the names of the members with the errors that the library throws; none may be missing.
 */

/** An issue of Standard Schema, as the schema library reports it. */
interface SchemaIssue {
  readonly message: string
  readonly path?: readonly unknown[] | undefined
}

/** Facts of a server's answer, on the engines over servers. */
interface FromServer {
  readonly engine?: string
  readonly channel?: string
  /** The operation that failed. */
  readonly doing?: string
  readonly answer?: string
  readonly what?: string
  readonly kafkaCode?: number
}

interface OfEvent {
  readonly channel?: string
  readonly type?: string
  readonly id?: string | undefined
}

/** The members of `details`, by the error's code. */
export interface DetailsByCode {
  readonly INVALID_OPTION: {
    /** Which option, argument or variable. */
    readonly option?: string
    /** What it was, shortened. */
    readonly value?: string
    readonly min?: number
    readonly max?: number
    /** What the options are of. */
    readonly of?: string
    /** The options that there are. */
    readonly known?: readonly string[]
    readonly type?: string
    readonly name?: string
    readonly path?: string | undefined
    readonly url?: string
    readonly scheme?: string
    readonly directory?: string
    readonly engine?: string
    readonly channel?: string
    readonly consumer?: string
    readonly events?: number
    readonly batchEventsMax?: number
    readonly mode?: string
    readonly what?: string
    readonly action?: string
    readonly algorithm?: string
    readonly secret?: string
    readonly token?: string
    readonly host?: string
    readonly function?: string
  }
  readonly INVALID_NAME: { readonly name: string; readonly of: string }
  readonly INVALID_EVENT: OfEvent & {
    readonly attribute?: string
    readonly path?: string
    readonly key?: string
    readonly depth?: number
    readonly at?: number
    readonly offset?: number
    readonly handled?: boolean
    readonly header?: string
    readonly line?: number
    readonly contentType?: string | null
    readonly index?: number
    readonly reasons?: readonly string[]
  }
  readonly SCHEMA_MISMATCH: OfEvent & {
    readonly type: string
    readonly issues: readonly SchemaIssue[]
    readonly offset?: number
    readonly handled?: boolean
  }
  readonly UNKNOWN_VERSION: OfEvent & {
    readonly type: string
    /** The version of the event. */
    readonly version: number
    /** The newest version that the definition has. */
    readonly newest: number
    readonly offset?: number | undefined
    /** It is older than every version that the definition has, so no attempt can help. */
    readonly handled?: boolean
    /** It is newer, so the event waits for an instance that knows it. */
    readonly waits?: boolean
  }
  readonly UPCAST_FAILED: OfEvent & {
    readonly type: string
    /** The version that was given to the upcast. */
    readonly version: number
    readonly offset?: number | undefined
  }
  readonly EVENT_TOO_LARGE: OfEvent & {
    readonly bytes?: number
    readonly bytesMax?: number
    readonly offset?: number
    readonly what?: string
    readonly kafkaCode?: number
  }
  readonly TYPE_NOT_CARRIED: {
    readonly channel?: string
    readonly type: unknown
    readonly id?: unknown
    readonly types: readonly string[]
  }
  readonly INVALID_PATTERN: { readonly path: string; readonly reason?: string }
  readonly INVALID_EXPRESSION: {
    readonly position?: number
    readonly line?: number
    readonly column?: number
    readonly expected?: readonly string[]
    readonly found?: string
    readonly reason?: string
    readonly path?: string
  }
  readonly INVALID_RULE: { readonly path?: string; readonly reason?: string; readonly file?: string }
  readonly UNKNOWN_CHANNEL: { readonly channel: string; readonly rule?: string }
  readonly UNKNOWN_CONSUMER: { readonly consumer: string }
  readonly CHANNEL_CONFLICT: {
    readonly channel?: string
    /** The declaration that the channel has. */
    readonly existing?: object
    /** The declaration that was refused. */
    readonly declared?: object
    readonly topic?: string | null
    readonly partitions?: number
  }
  readonly INCOMPATIBLE_SCHEMA: {
    readonly channel: string
    /** The event. */
    readonly type: string
    /** The version whose schema changed. */
    readonly version: number
    /** The field, as `data.items[].sku`. */
    readonly path: string
    /** What one schema says of the other one's value. */
    readonly reason: string
    /** `backward`: the new schema refuses an old value; `forward`: the old schema refuses a new one. */
    readonly direction: 'backward' | 'forward'
    /** Data that the one schema accepts and the other refuses; absent if a version was dropped, or it is large. */
    readonly example?: unknown
    /** How many breaks there are in all events of the channel. */
    readonly breaks: number
    /** Consumers of the channel, as far as the caller may know them; up to 20. */
    readonly consumers?: readonly string[]
  }
  readonly UNKNOWN_DEAD_LETTER: {
    readonly consumer: string
    readonly channel?: string
    readonly offset?: number
    readonly id?: string
    readonly key?: string
    readonly limit?: number
  }
  readonly UNKNOWN_RULE: { readonly rule: string }
  readonly REQUEST_TIMEOUT: { readonly channel: string; readonly id: string; readonly timeoutMs: number }
  readonly REQUEST_FAILED: { readonly channel: string; readonly consumer: string; readonly problem: object }
  readonly UNKNOWN_SCHEDULE: { readonly schedule: string }
  readonly UNKNOWN_SUBSCRIPTION: { readonly subscription: string }
  readonly UNKNOWN_LIMIT: { readonly limit: string }
  readonly UNKNOWN_ENGINE: { readonly url: string; readonly engines: readonly string[] }
  readonly CLAUSE_REFUSED: {
    readonly engine?: string
    /** The clause's number in the contract. */
    readonly clause?: number
    readonly setting?: string
    readonly refusals?: readonly string[]
    readonly channel?: string
    readonly consumer?: string
  }
  readonly NO_TRANSACTION: {
    /** The object, such as `a pool of pg`. */
    readonly what: string
  }
  readonly MIGRATION_NEEDED: { readonly part: string }
  readonly MISSING_DEPENDENCY: { readonly library: string; readonly version: string | null }
  readonly CLOSED: {
    readonly channel?: string
    readonly offset?: number
    /** It may have been done before the broker closed. */
    readonly maybeDone?: boolean
  }
  readonly DIRECTORY_IN_USE: {
    readonly directory: string
    /** Whether the owner answered, was silent or refused. */
    readonly met?: string
    readonly pid?: number
    readonly host?: string
    readonly since?: string
  }
  readonly DIRECTORY_UNUSABLE: { readonly directory: string; readonly errno: string }
  readonly DATA_DAMAGED: {
    readonly file?: string
    readonly channel?: string
    readonly offset?: number
    readonly consumer?: string
    readonly channelId?: number
    readonly consumerLog?: string
    readonly bytes?: number
  }
  readonly DATA_FOREIGN: { readonly path?: string; readonly channel?: string; readonly format?: number }
  readonly DATA_MISSING: { readonly directory: string }
  readonly DISK_FULL: { readonly directory?: string; readonly channel?: string }
  readonly TOO_MANY_FILES: { readonly directory?: string; readonly path?: string; readonly errno?: string }
  readonly RETENTION_FAILED: { readonly channel?: string }
  readonly STORE_FAILED: FromServer & { readonly directory?: string }
  readonly BACKPRESSURE: {
    readonly channel?: string
    readonly pendingBytes?: number
    readonly pendingBytesMax?: number
    readonly max?: number
    readonly bytesMax?: number
    readonly consumersMax?: number
    /** Redrives that run at once. */
    readonly jobsMax?: number
    readonly streamsMax?: number
    /** Requests that look through causes and effects at once. */
    readonly walksMax?: number
    /** Searches that run at once. */
    readonly searchesMax?: number
  }
  readonly LEASE_LOST: {
    readonly channel?: string
    readonly offset?: number
    readonly consumer?: string
    readonly lease?: string
    readonly settled?: string
  }
  readonly HANDLER_TIMEOUT: { readonly channel: string; readonly offset: number }
  readonly COPY_DIFFERS: { readonly channel?: string; readonly id?: string }
  readonly OFFSET_OUT_OF_RANGE: {
    readonly channel: string
    readonly offset: number | string
    readonly first?: number
    readonly next?: number
  }
  readonly INVALID_REQUEST: {
    /** Of the HTTP answer. */
    readonly status?: number
    readonly parameter?: string
    readonly what?: string
    readonly client?: number
    readonly server?: number
  }
  readonly REQUEST_TOO_LARGE: { readonly bytesMax: number }
  readonly UNAUTHENTICATED: {
    readonly url?: string
    readonly status?: number
    readonly servers?: string
    readonly what?: string
    readonly kafkaCode?: number
  }
  readonly FORBIDDEN: {
    readonly action?: string
    readonly channel?: string
    readonly consumer?: string
    readonly type?: string
    readonly secret?: string
    readonly address?: string
    readonly addresses?: readonly string[]
    readonly hostname?: string
    readonly host?: string
    readonly header?: string
    readonly origin?: string | null
    readonly url?: string
    readonly status?: number
    readonly engine?: string
    readonly operation?: string
    readonly subject?: string
    readonly what?: string
    readonly kafkaCode?: number
  }
  readonly INVALID_SIGNATURE: Readonly<Record<never, never>>
  readonly RATE_LIMITED: { readonly retryAfterMs?: number }
  readonly UNAVAILABLE: FromServer & {
    /** The operation may have been done, although no answer came: check before you repeat it. */
    readonly maybeDone?: boolean
    /** The events may have been stored. */
    readonly maybeStored?: boolean
    readonly ids?: readonly string[]
    readonly url?: string
    readonly origin?: string
    readonly status?: number
    readonly timeoutMs?: number
    readonly code?: string
    readonly servers?: string
    readonly address?: string
    readonly path?: string
    readonly host?: string
    readonly port?: number
    readonly errno?: string | null
    readonly reason?: string
    readonly closing?: boolean
    readonly replicas?: number
    readonly disks?: number
  }
}
