/** What the embedded engine can do: it supports every clause natively. With `memory:`, nothing outlives the process. */
import type { Capabilities, Capability } from '../../broker/capabilities.ts'

const native = (reason: string): Capability => ({ support: 'native', reason })

export const fileCapabilities: Capabilities = {
  1: native('one journal frame and one fdatasync a group commit'),
  2: native('a cursor for each consumer and stream, shared by its instances; one for each queue'),
  3: native('a completion is a record in a commit after the delivery'),
  4: native('a lane for each key with events in flight or waiting'),
  5: native('attempts are records; what was in flight at a crash is known from the commits'),
  6: native('dead letters, and the events that wait behind them, are records'),
  7: native('timers are records, moved into their channel in one commit'),
  8: native('a window of id fingerprints, compared with the stored id'),
  9: native('blocks are found by offset and time'),
  10: native('publishing waits for its commit; delivery is by credit; waiting events are kept as offsets'),
  11: native('an instance renews its lease; what it settles after losing it is refused'),
  12: native('emissions are in the commit of the completion'),
  13: native('by age, bytes, count and key'),
  14: native('channels, consumers and instances come and go at any time'),
  15: native('filtered by type and pattern before an event becomes an object'),
  16: native('wildcards are matched when a channel is declared'),
  17: native('read from the engine’s own state'),
  18: native('typed errors'),
  19: native('the state of a key is the latest event of a stream, in the commit of the completion'),
  22: native('a reply is an event of the stream $replies, in the commit of the completion'),
  20: native('the next time is a timer; it, the event of a time and the completion are one commit'),
  21: native('the process that owns the data counts what runs; rates are records'),
}

export const memoryCapabilities: Capabilities = {
  ...fileCapabilities,
  1: { support: 'refused', reason: 'memory: keeps nothing beyond its process; use file: for durability' },
}
