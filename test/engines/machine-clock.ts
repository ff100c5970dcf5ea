/**
 * Milliseconds of the machine's monotonic clock (CLOCK_MONOTONIC), which all processes share. Times that are made from
 * `performance.timeOrigin` differ by a millisecond and more between processes.
 */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
