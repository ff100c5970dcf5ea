/**
 * Spans of time in buckets whose bounds grow by a quarter of an octave: recording one costs an addition, and a
 * percentile is within 10 %. The first bucket has spans below 0.1 ms, the last one those above 6 days.
 */
const BUCKETS = 136
const PER_OCTAVE = 4
/** The logarithm of the middle of the first bucket, in milliseconds. */
const LOWEST = -4

export function newBuckets(): Float64Array {
  return new Float64Array(BUCKETS)
}

export function bucketOf(ms: number): number {
  if (!(ms > 0)) return 0
  return Math.min(BUCKETS - 1, Math.max(0, Math.round(PER_OCTAVE * (Math.log2(ms) - LOWEST))))
}

/** The span below which this share of the counted spans is, in milliseconds; 0 if none was counted. */
export function percentile(counts: ArrayLike<number>, share: number): number {
  let total = 0
  for (let bucket = 0; bucket < counts.length; bucket++) total += counts[bucket] as number
  if (total <= 0) return 0
  let seen = 0
  for (let bucket = 0; bucket < counts.length; bucket++) {
    seen += counts[bucket] as number
    if (seen >= share * total) return 2 ** (bucket / PER_OCTAVE + LOWEST)
  }
  return 0
}
