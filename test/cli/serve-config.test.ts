import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { readServeConfig } from '../../src/cli/serve-config.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function read(text: string): ReturnType<typeof readServeConfig> {
  const path = join(folder, 'millrace.yaml')
  writeFileSync(path, text)
  return readServeConfig(path)
}

it('secrets come from the environment, from files beside the configuration, or from the configuration itself', () => {
  process.env['MILLRACE_TEST_SECRET'] = 'from-env'
  writeFileSync(join(folder, 'one.secret'), 'from-file\n')
  const { gateway } = read(`
webhooks:
  a: { scheme: github, secret: env:MILLRACE_TEST_SECRET, channel: x }
  b: { scheme: github, secret: [file:one.secret, written], channel: x, tolerance: 1m }
hosts: events.example
`)
  expect(gateway).toEqual({
    webhooks: {
      a: { scheme: 'github', secret: ['from-env'], channel: 'x' },
      b: { scheme: 'github', secret: ['from-file', 'written'], channel: 'x', tolerance: '1m' },
    },
    hosts: ['events.example'],
  })
  expect(read('{"webhooks":{}}').gateway).toEqual({ webhooks: {} })
  expect(read('push: { allow: [10.0.0.0/8] }\nrules: { folder: ./rules, allow: 10.1.0.0/16 }')).toEqual({
    gateway: { push: { allow: ['10.0.0.0/8'] } },
    rules: { folder: { path: join(folder, 'rules'), label: './rules' }, http: { allow: ['10.1.0.0/16'] } },
  })
})

it.each([
  [
    'a secret that is not in the environment',
    'webhooks: { a: { secret: env:MILLRACE_NO_SUCH } }',
    'the environment has no MILLRACE_NO_SUCH',
  ],
  ['a secret whose file is missing', 'webhooks: { a: { secret: file:none } }', 'cannot be read'],
  ['an unknown member', 'webhook: {}', 'no option "webhook"'],
  ['a list for an object', 'webhooks: []', 'an object is needed'],
  ['a number for a secret', 'webhooks: { a: { secret: 5 } }', 'a text or a list of texts'],
  ['an unknown member of rules', 'rules: { path: x }', 'no option "path"'],
  ['a folder that is none', 'rules: { folder: [] }', 'the path of a folder'],
  ['what is no YAML', 'a: [', 'neither YAML nor JSON'],
])('%s is refused with its position in the file', (_, text, why) => {
  expect(() => read(text)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(why) as string }),
  )
})

it('a missing file is refused', () => {
  expect(() => readServeConfig(join(folder, 'none.yaml'))).toThrow('cannot be read')
})
