/** Opening the engine on Kafka: `kafka://host:9092,host:9092?prefix=shop.` */
import type { OpenOptions } from '../../broker/connect.ts'
import { BackendAlarms } from '../../external-log/backend/alarms.ts'
import { ExternalLogEngine } from '../../external-log/external-log-engine.ts'
import { KafkaBackend } from './backend.ts'
import { KafkaClient } from './client.ts'
import { loadKafka } from './library.ts'
import { TopicPlans } from './topic-plans.ts'
import { parseKafkaUrl } from './url.ts'

/** How long connecting may wait for a cluster that does not answer. */
const CONNECT_MS = 10_000

/**
 * An engine over a Kafka cluster. docs/engines/kafka.md describes the URL.
 *
 * @throws MISSING_DEPENDENCY · INVALID_OPTION · UNAVAILABLE · UNAUTHENTICATED · FORBIDDEN · CLAUSE_REFUSED
 */
export async function openKafkaEngine(
  url: string,
  options: Pick<OpenOptions, 'onAlarm' | 'token' | 'notice'> = {},
): Promise<ExternalLogEngine> {
  const { partitions } = parseKafkaUrl(url, options.token)
  return ExternalLogEngine.open({
    backend: await openKafkaBackend(url, options.token),
    partitions,
    onAlarm: options.onAlarm,
    notice: options.notice,
  })
}

/** The backend, without an engine over it. */
export async function openKafkaBackend(url: string, token?: string): Promise<KafkaBackend> {
  const target = parseKafkaUrl(url, token)
  const alarms = new BackendAlarms()
  let patienceMs = Math.min(CONNECT_MS, target.patienceMs)
  const client = new KafkaClient(await loadKafka(), {
    ...target,
    clientId: 'millrace',
    patienceMs: () => patienceMs,
    reachable: (problem) => {
      if (problem === null) alarms.clear('UNAVAILABLE')
      else alarms.raise('UNAVAILABLE', `Kafka does not answer: ${problem}`)
    },
  })
  const plans = new TopicPlans(target.prefix, target.durability, target.replicas)
  const backend = await KafkaBackend.open(client, plans, target.durability, alarms)
  patienceMs = target.patienceMs
  return backend
}
