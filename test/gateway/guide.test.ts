/** The guide pages, followed as a reader would: with curl, Python and nginx if they are installed. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { type ServeOptions, type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })
const run = promisify(execFile)
const page = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`../../docs/guide/${name}`, import.meta.url)), 'utf8')
const blocks = (text: string, fence: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${fence}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, block]) => block as string)
const present = async (command: string, flag = '--version'): Promise<boolean> =>
  run(command, [flag]).then(
    () => true,
    () => {
      // `.ci/run` installs every program that these tests start.
      expect(process.env['CI'], `${command} is not installed`).toBeUndefined()
      return false
    },
  )

let folder: string
let broker: Broker
let server: ServingGateway

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-guide-'))
  broker = await connect('memory:')
})
afterEach(async () => {
  await server.close()
  await broker.close()
  rmSync(folder, { recursive: true, force: true })
})
async function serve(options: ServeOptions = {}): Promise<void> {
  server = await serveGateway(broker, { port: 0, drain: '100ms', ...options })
}
const here = (text: string): string => text.replaceAll(/(?:http:\/\/)?localhost:8080/g, server.url)
async function typesOf(channel: string): Promise<string[]> {
  const types: string[] = []
  for await (const { type } of broker.read(channel)) types.push(type)
  return types
}

describe('docs/guide/http.md', () => {
  test('its curl commands work', { timeout: 60_000 }, async (context) => {
    if (!(await present('curl'))) return context.skip()
    await serve()
    const commands = blocks(page('http.md'), 'sh')
    expect(commands.length).toBeGreaterThan(4)
    const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', here(commands.join('\n'))], { cwd: folder })
    expect(stdout).toContain('{"receipts":[{"channel":"orders","id":"o-1","offset":0,"duplicate":false}]}')
    expect(stdout).toContain('"settled":"completed"')
    expect(await typesOf('orders')).toEqual(['order.placed', 'invoice.sent'])
    const [endless = ''] = blocks(page('http.md'), 'sh no-end')
    const following = spawn('bash', ['-c', `exec ${here(endless)}`])
    let heard = ''
    following.stdout.on('data', (chunk: Buffer) => {
      heard += chunk.toString()
    })
    await eventually(() => heard).toContain('"type":"invoice.sent"')
    following.kill()
  })
  test('its Python program works', { timeout: 60_000 }, async (context) => {
    if (!(await present('python3'))) return context.skip()
    await broker.declare(stream('orders'))
    await serve()
    const [program = ''] = blocks(page('http.md'), 'python')
    expect((await run('python3', ['-c', here(program)])).stdout).toBe('mail about p-1\n')
    expect((await broker.describe()).consumers).toMatchObject([{ name: 'mailer', channels: [{ lag: 0 }] }])
  })
  test('its code for pages uses fetch and EventSource; test/browser runs millrace/browser in Chromium', () => {
    expect(blocks(page('http.md'), 'js')[0]).toContain('new EventSource')
  })
})

describe('docs/guide/secure-it.md', () => {
  test('its commands exist in the command line', () => {
    const shown = [...page('secure-it.md').matchAll(/^millrace (.+)$/gm)].map(([, command]) => command as string)
    expect(shown.length).toBeGreaterThan(4)
    const options = execFileSync('npx', ['tsx', 'src/cli/main.ts', 'tokens', 'add', '--help'], {
      encoding: 'utf8',
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
    })
    const serveOptions = execFileSync('npx', ['tsx', 'src/cli/main.ts', 'serve', '--help'], {
      encoding: 'utf8',
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
    })
    for (const command of shown)
      for (const [option] of command.matchAll(/--[a-z-]+/g)) expect(`${options}${serveOptions}`).toContain(option)
    return serve()
  })
})

describe('docs/guide/webhooks.md', () => {
  test('its configuration and its delivery work', { timeout: 60_000 }, async (context) => {
    await serve()
    if (!(await present('curl')) || !(await present('openssl', 'version'))) return context.skip()
    const [config = ''] = blocks(page('webhooks.md'), 'yaml')
    writeFileSync(join(folder, 'millrace.yaml'), config)
    writeFileSync(join(folder, 'billing.secret'), 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n')
    const [command = ''] = blocks(page('webhooks.md'), 'sh serve')
    const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
    const serving = spawn(
      'bash',
      [
        '-c',
        command
          .replace('\nmillrace', `\nexec ${process.execPath} ${main}`)
          .replace('--config', '--json --port 0 --config'),
      ],
      {
        cwd: folder,
      },
    )
    let said = ''
    for (const output of [serving.stdout, serving.stderr])
      output.on('data', (chunk: Buffer) => {
        said += chunk.toString()
      })
    const ended = new Promise((resolve) => serving.once('exit', resolve))
    try {
      await eventually(() => said).toContain('"url"')
      const { url } = JSON.parse(said) as { url: string }
      const [delivery = ''] = blocks(page('webhooks.md'), 'sh')
      const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', delivery.replaceAll('localhost:8080', url)])
      const [, receipt = ''] = /^# (.+)$/m.exec(delivery) ?? []
      expect(stdout).toContain(receipt)
      expect(stdout).toContain('"type":"com.github.issues.opened"')
      expect((await fetch(`${url}/webhooks/billing`, { method: 'POST', body: '{}' })).status).toBe(403)
    } finally {
      serving.kill()
      await ended
    }
  })
})

describe('docs/guide/webhooks.md, subscriptions', () => {
  test('its commands work, one after the other', { timeout: 60_000 }, async (context) => {
    await broker.declare(stream('orders'))
    await serve({ push: { allow: ['127.0.0.0/8'] } })
    if (!(await present('curl'))) return context.skip()
    const [commands = ''] = blocks(page('webhooks.md'), 'sh out')
    const lines = here(commands).replace('https://billing.example/hook', 'http://127.0.0.1:9/hook')
    const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', lines])
    expect(stdout).toMatch(/"secret":"whsec_/)
    expect(stdout).toContain('"enabled":false')
    expect(stdout).toContain('{"deadLetters":[]}{"redriven":0}')
    expect((await broker.describe()).consumers).toEqual([])
  })
})

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })

describe('docs/guide/behind-nginx.md', () => {
  test('its configuration of nginx passes requests, streams and pulls on; without tokens they are refused', {
    timeout: 60_000,
  }, async (context) => {
    const nginx = (await present('nginx', '-v')) ? 'nginx' : '/usr/sbin/nginx'
    if (!(await present(nginx, '-v')) || !(await present('openssl', 'version'))) return context.skip()
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-keyout',
        key,
        '-out',
        cert,
        '-days',
        '1',
        '-subj',
        '/CN=events.example',
      ],
      {
        stdio: 'ignore',
      },
    )
    await broker.declare(stream('orders'))
    const tokens = join(folder, 'tokens.json')
    const { token } = addToken(tokens, { name: 'all', permissions: { publish: ['>'], consume: ['>'], read: ['>'] } })
    await serve({ access: { tokens } })
    const port = await freePort()
    const [shown = ''] = blocks(page('behind-nginx.md'), 'nginx')
    const filled = shown
      .replace('127.0.0.1:8080', `127.0.0.1:${server.port}`)
      .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
      .replace('/etc/ssl/events.example.pem', cert)
      .replace('/etc/ssl/events.example.key', key)
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${join(folder, name)};`)
      .join('\n')
    const config = join(folder, 'nginx.conf')
    writeFileSync(
      config,
      `daemon off;\nworker_processes 1;\nerror_log ${join(folder, 'error.log')};\npid ${join(folder, 'pid')};\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${filled}\n}\n`,
    )
    const proxy = spawn(nginx, ['-c', config, '-p', folder], { stdio: 'ignore' })
    const ended = new Promise((resolve) => proxy.once('exit', resolve))
    const curl = async (path: string, ...options: string[]): Promise<string> =>
      (
        await run('curl', [
          '-sS',
          '--cacert',
          cert,
          '--connect-to',
          `events.example:443:127.0.0.1:${port}`,
          ...options,
          `https://events.example${path}`,
        ])
      ).stdout
    try {
      await eventually(async () => curl('/health').catch(() => '')).toBe('{"status":"ok"}')
      const bearer = ['-H', `authorization: Bearer ${token}`]
      expect(await curl('/channels/orders/events')).toContain('UNAUTHENTICATED')
      const event = '{"specversion":"1.0","id":"n-1","source":"/nginx","type":"t"}'
      expect(
        await curl(
          '/channels/orders/events',
          ...bearer,
          '-H',
          'content-type: application/cloudevents+json',
          '-d',
          event,
        ),
      ).toContain('"offset":0')
      expect(
        await curl(
          '/consumers/c/pull',
          ...bearer,
          '-H',
          'content-type: application/json',
          '-d',
          '{"channels":["orders"],"wait":"10s"}',
        ),
      ).toContain('"id":"n-1"')
      // The stream's first event arrives while the stream continues: nothing is buffered.
      const streamed = await curl('/channels/orders/stream?from=beginning', ...bearer, '-N', '--max-time', '2').catch(
        (error: { stdout: string }) => error.stdout,
      )
      expect(streamed).toContain('"id":"n-1"')
    } finally {
      proxy.kill()
      await ended
    }
  })
  test('a gateway without access control refuses requests through a proxy', async () => {
    await serve()
    const answer = await fetch(`${server.url}/api/describe`, { headers: { 'x-forwarded-for': '203.0.113.7' } })
    expect(answer.status).toBe(403)
  })
})
