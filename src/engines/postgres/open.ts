/** Opening the engine over Postgres: `postgres://…` and `postgresql://…`, in the form of `postgres-url.ts`. */
import type { OpenOptions } from '../../broker/connect.ts'
import { ExternalLogEngine } from '../../external-log/external-log-engine.ts'
import { PostgresBackend } from './postgres-backend.ts'
import { postgresSettings } from './postgres-url.ts'

/**
 * The engine of a `postgres:` or `postgresql:` URL.
 * @throws INVALID_OPTION when the URL is not valid · MISSING_DEPENDENCY · UNAVAILABLE · UNAUTHENTICATED · FORBIDDEN ·
 * CLAUSE_REFUSED when the settings of the server are too weak · DATA_FOREIGN when the tables are of another version
 */
export async function openPostgresEngine(
  url: string,
  { onAlarm, notice }: Pick<OpenOptions, 'onAlarm' | 'notice'> = {},
): Promise<ExternalLogEngine> {
  const settings = postgresSettings(url)
  const backend = await PostgresBackend.open(settings, notice)
  return ExternalLogEngine.open({ backend, partitions: settings.partitions, onAlarm, notice })
}
