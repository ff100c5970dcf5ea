/** The alarms that say that nothing can be stored: the first reasons of a consumer, and of publishing. */
import type { Engine } from '../broker/engine.ts'
import { type Reason, reason } from './reason.ts'

/** The alarms of the store or of its server. While they last, nothing can be stored or settled. */
export async function storeReasons(engine: Engine): Promise<Reason[]> {
  const alarms = await engine.alarms.ask()
  const halting = new Set(['STORE_FAILED', 'DISK_FULL', 'TOO_MANY_FILES', 'UNAVAILABLE', 'DATA_DAMAGED'])
  return alarms
    .filter(({ code }) => halting.has(code))
    .map(({ code, message, sinceMs }) => reason('store', `${code}: ${message}`, { code, sinceMs }))
}
