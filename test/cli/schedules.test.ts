/** `millrace schedules`, as an operator uses it, and `millrace serve`, which runs them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, stream } from '../../src/index.ts'
import { type Ran, runMillrace } from './command-line.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-cli-schedules-'))
const data = join(folder, 'data')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const schedules = (...args: string[]): Promise<Ran> => runMillrace(['schedules', ...args, '--data', data])

beforeAll(async () => {
  const broker = await connect(`file:${data}`)
  await broker.declare(stream('reports'))
  await broker.close()
})

test('schedules are put, listed, paused, resumed, run and removed', async () => {
  const report = ['--channel', 'reports', '--type', 'report.due', '--payload', '{"n":1}']
  const berlin = ['--cron', '0 7 * * 1-5', '--time-zone', 'Europe/Berlin']
  expect(await schedules('put', 'report', ...report, ...berlin)).toMatchObject({ code: 0 })
  const listed = await schedules('list')
  expect(listed.out).toMatch(/report +reports +report\.due +0 7 \* \* 1-5 \(Europe\/Berlin\)/)
  expect(await schedules('pause', 'report', '--reason', 'audit')).toMatchObject({ code: 0 })
  expect((await schedules('list')).out).toContain('paused: audit')
  expect(await schedules('resume', 'report')).toMatchObject({ code: 0 })
  const ran = await schedules('run', 'report', '--json')
  const { id } = JSON.parse(ran.out) as { id: string }
  const broker = await connect(`file:${data}`)
  await broker.schedules.start()
  for await (const each of broker.read('reports', { follow: true })) {
    expect(each).toMatchObject({ id, data: { n: 1 } })
    break
  }
  await broker.close()
  expect(await schedules('remove', 'report')).toMatchObject({ code: 0 })
  expect(JSON.parse((await schedules('list', '--json')).out)).toEqual({ schedules: [] })
})

test('wrong commands say what to do', async () => {
  expect((await schedules('put', 'report', '--every', '1h')).err).toContain('--channel')
  expect((await schedules('pause', 'absent')).err).toContain('there is no schedule "absent"')
  const half = await schedules('put', 'report', '--channel', 'reports', '--type', 't', '--cron', '0 7')
  expect(half.err).toContain('not a cron expression')
})
