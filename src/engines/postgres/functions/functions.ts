/**
 * The functions that run in the server, so that a call is one transaction. `$S` stands for the schema.
 *
 * The lock on the channel's row is the sequencer: an append holds it until it is committed, so positions are in the
 * order of commits, and everything below the end of a channel is there. The statements of a function see what was
 * committed before the lock was given, because each has a snapshot of its own (isolation level read committed).
 */
import { CREATE_CHANNEL, REMOVE_CHANNEL, SEGMENT, SYNC, UPDATE_CHANNEL } from './channels.ts'
import { CONSUMER_LOGS, MEMBERS, RETAIN } from './keeping.ts'
import { BOUNDS, FIND, KNOWN, READ, SIZES } from './reading.ts'
import { APPEND, PUBLISH } from './storing.ts'

/** In the order in which they need each other. */
export const FUNCTIONS: string = [
  SYNC,
  SEGMENT,
  CREATE_CHANNEL,
  UPDATE_CHANNEL,
  REMOVE_CHANNEL,
  APPEND,
  PUBLISH,
  BOUNDS,
  KNOWN,
  READ,
  FIND,
  SIZES,
  RETAIN,
  CONSUMER_LOGS,
  MEMBERS,
].join('')
