/** What a heartbeat says that the instances of its member have counted. Another client may have written it. */
import { isJsonObject, isNumberFrom } from '../../base/json-object.ts'
import type { CountedInstance } from '../../delivery/consumers/homes.ts'

const BUCKETS_MAX = 1000

export function isCounted(value: unknown): value is readonly CountedInstance[] {
  return Array.isArray(value) && value.every(isCountedInstance)
}

function isCountedInstance(value: unknown): boolean {
  if (!isJsonObject(value)) return false
  const { consumer, instance, latency, duration } = value
  return (
    typeof consumer === 'string' &&
    typeof instance === 'string' &&
    ['delivered', 'completed', 'retried', 'deadLettered'].every((name) => isNumberFrom(value[name], 0)) &&
    [latency, duration].every(isBuckets)
  )
}

function isBuckets(value: unknown): boolean {
  return Array.isArray(value) && value.length <= BUCKETS_MAX && value.every((count) => isNumberFrom(count, 0))
}
