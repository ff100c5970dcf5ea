/** Opening the engine over NATS JetStream: `nats://host:4222`, `tls://…`, several servers joined by commas. */
import type { OpenOptions } from '../../broker/connect.ts'
import { ExternalLogEngine } from '../../external-log/external-log-engine.ts'
import { NatsBackend } from './nats-backend.ts'
import { parseNatsUrl } from './nats-url.ts'

/**
 * An engine on the servers that the URL names. The first connection is tried once. Later, a lost connection is made
 * again.
 *
 * @throws UNAVAILABLE when no server answers · UNAUTHENTICATED · CLAUSE_REFUSED when the servers cannot hold the
 * contract · INVALID_OPTION · MISSING_DEPENDENCY
 */
export async function openNatsEngine(
  url: string,
  options: Pick<OpenOptions, 'onAlarm' | 'notice'> = {},
): Promise<ExternalLogEngine> {
  const target = parseNatsUrl(url)
  const backend = await NatsBackend.open(target)
  return ExternalLogEngine.open({
    backend,
    onAlarm: options.onAlarm,
    notice: options.notice,
    ...(target.partitions !== null && { partitions: target.partitions }),
  })
}
