/** What publishing waits for at this moment, from the memory of a process: for people who ask why it is slow. */
export interface PublishLoad {
  /** What stores the events: this process's disk or memory, a Millrace server, or the servers of the engine. */
  readonly storedBy: 'disk' | 'memory' | 'server' | 'servers'
  /** Bytes of events that wait to be stored. Above `waitingBytesMax`, a publish is refused with BACKPRESSURE. */
  readonly waitingBytes: number
  readonly waitingBytesMax: number
  /** For how long the oldest commit, or request to a server, is under way. Null: none is. */
  readonly underWayMs: number | null
  /** How long one takes: a mean of the last ones. Null: there was none in the last minute. */
  readonly takesMs: number | null
  /** The journal is full: commits wait until it is applied to the segments. */
  readonly journalFull: boolean
}
