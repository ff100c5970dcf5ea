/**
 * Invalid options of the command line: each is refused with a message and the exit code of wrong usage, and nothing is
 * changed or created.
 */
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, consumer, stream } from '../../src/index.ts'
import { eventually } from '../rules/support.ts'
import { type Ran, runMillrace } from './command-line.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-options-'))
const { BROKER_URL: _, ...env } = process.env

const millrace = (...args: readonly string[]): Promise<Ran> => runMillrace(args, { cwd: folder, env })

beforeAll(async () => {
  writeFileSync(join(folder, 'lines.jsonl'), '{"type":"t","id":"from-file"}\n')
  const broker = await connect(`file:${join(folder, 'data')}`, { logger: false })
  await broker.declare(stream('c'))
  const running = await broker.start(
    consumer('picky', 'c', { retry: { attempts: 1 } }).onAny((_event, ctx) => ctx.reject('no')),
  )
  await broker.publish('c', { type: 't', id: 'letter' })
  await eventually(async () => expect(await broker.deadLetters('picky').list()).toHaveLength(1))
  await running.stop()
  await broker.close()
  symlinkSync(join(folder, 'data'), join(folder, 'alias'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const REFUSED: readonly [args: string, says: string][] = [
  ['publish c --file nowhere.jsonl', 'nowhere.jsonl cannot be read'],
  ['publish c --file .', 'it is a directory'],
  ['publish c --file lines.jsonl --key k', '--key means nothing with --file'],
  ['publish c --file lines.jsonl --payload 1', '--payload means nothing with --file'],
  ['publish c --type t --id ~', '--id is given without a value'],
  ['tail c --from -1', 'is not a position in a channel'],
  ['tail c --to foo_1', 'is not a position in a channel'],
  ['tail c --limit two', '--limit must be a whole number'],
  ['consumer rewind picky --to last_5', 'is not a position in a channel'],
  ['consumer rewind picky --to ~', '--to is given without a value'],
  ['dead drop picky --offset ~', '--offset is given without a value'],
  ['dead drop picky --limit ~', '--limit is given without a value'],
  ['dead drop picky --offset 0x0', '--offset must be a whole number'],
  ['dead drop picky --limit 0', '--limit must be a whole number of 1 or more'],
  ['delayed list c --limit x', '--limit must be a whole number of 1 or more'],
  ['tokens add ~ --read > --file tokens.json', 'a token has a name'],
  ['tokens add x --read > --expires 99999999999d --file tokens.json', 'expires is later than any date'],
  ['tokens remove nobody --data elsewhere', 'there is no token "nobody"'],
  ['backup lines.jsonl', 'lines.jsonl'],
  ['backup data/inside', 'is within the directory that is copied'],
  ['backup copied --data elsewhere', 'does not exist'],
  ['publish c --type t --data elsewhere', 'does not exist'],
  ['consumer pause picky --data elsewhere', 'does not exist'],
  ['dead redrive picky --all --data elsewhere', 'does not exist'],
  ['rules remove x --data elsewhere', 'does not exist'],
  ['copy --from file:./data --to file:data', 'the same broker'],
  ['copy --from file:alias --to file:./data', 'the same broker'],
  ['copy --from file:./data --to file:copied --accept one', '--accept must be a whole number'],
  ['copy --from file:./data --to file:copied --channels c,,d', '--channels must be names'],
  ['copy --from file:./data --to file:copied --quiet 5s', '--quiet means nothing without --follow'],
  ['copy --from file:./data --to file:copied --follow --quiet soon', 'quiet must be'],
  ['bench --seconds two', '--seconds must be a number above 0'],
  ['serve --port http', '--port must be a whole number'],
  ['serve --issuer https://id.example --port 0', '--issuer means nothing without --jwks'],
  ['serve --tls-cert nowhere.pem --tls-key nowhere.pem --port 0', 'nowhere.pem cannot be read'],
  ['serve --tls-cert lines.jsonl --tls-key lines.jsonl --port 0', 'must be PEM texts'],
  ['serve --cors localhost:3000 --port 0', 'must be origins of pages'],
  ['serve --cors https://shop.example/ --port 0', 'did you mean "https://shop.example"'],
  ['serve --cors * --port 0', 'must be origins of pages'],
]

test.each(REFUSED)('%s', { timeout: 60_000 }, async (args, says) => {
  const before = readdirSync(folder).sort()
  // "~" stands for a shell variable that is not set.
  const words = args.split(' ').map((word) => (word === '~' ? '' : word.replace('_', ' ')))
  const { code, out, err } = await millrace(...words)
  expect(err).toContain(says)
  expect(err).not.toMatch(/ERROR:|undefined|NaN|\n {4}at /)
  expect([code > 0, out]).toEqual([true, ''])
  expect(readdirSync(folder).sort()).toEqual(before)
})

test('the refused commands changed nothing', { timeout: 60_000 }, async () => {
  const [letters, events] = await Promise.all([
    millrace('dead', 'list', 'picky', '--json'),
    millrace('tail', 'c', '--json'),
  ])
  expect(JSON.parse(letters.out)).toMatchObject([{ offset: 0 }])
  expect(events.out.trim().split('\n')).toHaveLength(1)
})
