/** A real Postgres for the tests of a file; undefined where there is none. */
import { afterAll } from 'vitest'
import { postgresKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { kindOf } from '../engines/servers.ts'

export async function postgres(settings: Readonly<Record<string, string>> = {}): Promise<Server | undefined> {
  const kind = kindOf('postgres', () => postgresKind({ shared_buffers: '32MB', ...settings }))
  const server = kind === undefined ? undefined : await Server.start(kind)
  afterAll(() => server?.stop())
  return server
}
