/** A consumer of `orders` as a wire client subscribes it: every event, from the beginning, four at a time. */
export const workerSpec = {
  name: 'worker',
  channels: ['orders'],
  wants: [{ type: null, pattern: null }],
  from: { at: 'beginning' },
  onDead: null,
  credit: 4,
  perKey: 1,
  leaseMs: 30_000,
  attemptsMax: 8,
  stallMs: 30_000,
} as const
