/** Opening the engine over NATS JetStream: `nats://host:4222`, `tls://…`, several servers joined by commas. */
import type { OpenOptions } from '../../broker/connect.ts'
import { ExternalLogEngine } from '../../external-log/external-log-engine.ts'
import { NatsBackend } from './nats-backend.ts'
import { parseNatsUrl } from './nats-url.ts'

/**
 * An engine on the servers that the URL names. Each of them is tried once. A connection that is lost later is made
 * again.
 *
 * @throws UNAVAILABLE when no server answers, or none at an address of `monitor` · UNAUTHENTICATED when the
 * credentials are refused · FORBIDDEN when the account may not send the first requests · CLAUSE_REFUSED when the
 * servers cannot hold the contract · DISK_FULL, STORE_FAILED when the streams of Millrace cannot be created ·
 * INVALID_OPTION when the URL is not valid · MISSING_DEPENDENCY when the client library is not installed
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
