/** `millrace tables`: what it prints makes the same tables as it makes itself, and `connect` needs nothing else. */
import { expect, test } from 'vitest'
import { postgresKind } from '../../scripts/engines/engines.ts'
import { connect, stream } from '../../src/index.ts'
import { runMillrace } from '../cli/command-line.ts'
import { withPlainPostgres } from './plain-postgres.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('postgres', () => postgresKind())

test.skipIf(kind === undefined)('prints the statements, and makes the tables', { timeout: 60_000 }, async () => {
  await withServer(postgresKind(), async ({ url }) => {
    const plan = await runMillrace(['tables', '--url', `${url}?schema=planned`, '--plan'])
    expect(plan.code).toBe(0)
    expect(await runMillrace(['tables', '--url', `${url}?schema=made`, '--json'])).toMatchObject({
      code: 0,
      out: expect.stringContaining('{"schema":"made","version":1}'),
    })
    await withPlainPostgres(url, async (plain) => {
      await plain.query(plan.out)
      const columns = async (schema: string): Promise<unknown> =>
        (
          await plain.query(
            'SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = $1 ORDER BY 1, 2',
            [schema],
          )
        ).rows
      expect(await columns('planned')).toEqual(await columns('made'))
    })
    const broker = await connect(`${url}?schema=planned&tables=expect`)
    expect(await broker.publish(stream('notes'), { type: 'note', data: 1 })).toMatchObject({ offset: 0 })
    await broker.close()
  })
})

test('is for a Postgres only', async () => {
  expect(await runMillrace(['tables', '--url', 'redis://localhost'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('--url must be the URL of a Postgres'),
  })
})
