/** What the functions of the server and their callers agree on. */

/** The SQLSTATE of "there is no such channel". */
export const NO_CHANNEL = 'MR001'

/** The SQLSTATE of an event that plain SQL cannot publish. */
export const NOT_PUBLISHED = 'MR002'

/** How many positions a partition of an events table holds. */
export const SEGMENT_POSITIONS = 1_000_000

/** A table of events that has deleted ones is not added to any more when it is larger than this, or older. */
export const SEGMENT_BYTES: number = 64 * 1024 * 1024
export const SEGMENT_MS = 3_600_000
