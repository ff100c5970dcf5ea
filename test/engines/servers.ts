/**
 * Real servers for tests. The tests of a missing server are skipped with a loud line, or fail with
 * `MILLRACE_ENGINES=all`.
 */
import { Missing } from '../../scripts/engines/programs.ts'
import { Server, type ServerKind } from '../../scripts/engines/server.ts'

// Tests download nothing: tests of missing servers are skipped. `.ci/run` downloads before it tests, and sets `all`.
process.env['MILLRACE_ENGINES'] ??= 'present'

/** The kind of server, or undefined when it is not to be had here. */
export function kindOf(name: string, make: () => ServerKind): ServerKind | undefined {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof Missing) || process.env['MILLRACE_ENGINES'] === 'all') throw error
    console.warn(`\n!!! ${name}: ITS TESTS DO NOT RUN: ${error.message}\n`)
    return undefined
  }
}

/** Start it, work with it, and stop it whatever happens. */
export async function withServer<T>(kind: ServerKind, work: (server: Server) => Promise<T>): Promise<T> {
  const server = await Server.start(kind)
  try {
    return await work(server)
  } finally {
    await server.stop()
  }
}
