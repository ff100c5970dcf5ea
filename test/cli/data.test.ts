/** `millrace data migrate`. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { outbox } from '../../src/data/index.ts'
import { event, stream } from '../../src/index.ts'

const ROOT = join(import.meta.dirname, '../..')
const require = createRequire(import.meta.url)
const folder = mkdtempSync(join(tmpdir(), 'millrace-data-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function migrate(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(ROOT, 'dist/cli/main.js'), 'data', 'migrate', ...args],
      { cwd: folder },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    )
  })
}

test('the statements are printed, and run in the database that a module exports', async () => {
  const library = pathToFileURL(require.resolve('libsql')).href
  const path = join(folder, 'shop.db')
  writeFileSync(
    join(folder, 'database.mjs'),
    `import Database from '${library}'\nexport default new Database(${JSON.stringify(path)})\n`,
  )
  const plan = await migrate('database.mjs', '--plan')
  expect(plan.out).toContain('create table millrace_outbox (')
  for (let time = 0; time < 2; time++) {
    const ran = await migrate('database.mjs')
    expect(ran, ran.err).toMatchObject({ code: 0 })
  }
  const db = new (require('libsql'))(path)
  db.exec('begin')
  outbox(db).enqueue(stream('orders'), event('order.placed')({ order: 1 }))
  db.exec('commit')
  expect(db.prepare('select count(*) as n from millrace_outbox').get()).toMatchObject({ n: 1 })
  db.close()
})

test('without a module the script of a dialect is printed; wrong use says what to give', async () => {
  const { out } = await migrate('--plan', '--dialect', 'postgres')
  expect(out).toContain('create schema if not exists millrace;')
  for (const [args, message] of [
    [[], 'give the module'],
    [['--plan'], '--dialect is postgres or sqlite; it is missing'],
    [['database.mjs', '--dialect', 'sqlite'], '--dialect is for --plan without a module'],
    [['database.mjs', '--export', 'pool'], 'does not export "pool": it exports default'],
  ] as const) {
    const { code, err } = await migrate(...args)
    expect(err).toContain(message)
    expect(code).toBe(2)
  }
})
