/** Opening the engine over Redis: `redis://…` and `rediss://…`, in the form of `redis-url.ts`. */
import type { OpenOptions } from '../../broker/connect.ts'
import { ExternalLogEngine } from '../../external-log/external-log-engine.ts'
import { RedisBackend } from './redis-backend.ts'
import { redisSettings } from './redis-url.ts'

/**
 * The engine of a `redis:` or `rediss:` URL.
 * @throws INVALID_OPTION when the URL is not valid · MISSING_DEPENDENCY · UNAVAILABLE · UNAUTHENTICATED · FORBIDDEN ·
 * CLAUSE_REFUSED when the settings of the server are too weak
 */
export async function openRedisEngine(
  url: string,
  { onAlarm, notice }: Pick<OpenOptions, 'onAlarm' | 'notice'> = {},
): Promise<ExternalLogEngine> {
  const settings = redisSettings(url)
  const backend = await RedisBackend.open(settings)
  return ExternalLogEngine.open({ backend, partitions: settings.partitions, onAlarm, notice })
}
