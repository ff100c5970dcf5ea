/**
 * `npm run bench:gateway [-- --quick]`: `millrace serve` under load from outside. Debian's wrk publishes single events
 * and batches over keep-alive connections, and 1,000 event streams each receive every event.
 *
 * It prints figures and writes JSON to bench/results. Timings never make it fail. It fails on an error, or if an
 * acknowledged event is not stored exactly once.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const SECONDS = values.quick ? 1 : 10
const STREAMS = values.quick ? 50 : 1000
const STREAM_EVENTS = values.quick ? 20 : 200
const BATCH = 100
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'millrace-gateway-bench-'))

interface Serving {
  readonly url: string
  readonly pid: number
  readonly stop: () => Promise<void>
}

async function serve(): Promise<Serving> {
  const cli = join(ROOT, 'dist/cli/main.js')
  const data = join(folder, 'data')
  for (const channel of ['single', 'batch', 'streamed'])
    execFileSync('node', [
      cli,
      'publish',
      channel,
      '--type',
      'first',
      '--payload',
      '{}',
      '--create',
      '--data',
      data,
      '--json',
    ])
  const child = spawn('node', [cli, 'serve', '--data', data, '--port', '0', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const line = await new Promise<string>((resolve) =>
    child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
  )
  const { url, pid } = JSON.parse(line) as { url: string; pid: number }
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await ended
  }
  return { url, pid, stop }
}

/** The server's resident memory now and at most, in MiB, and its processor time in seconds. */
function usage(pid: number): { readonly mib: number; readonly peakMib: number; readonly cpuSeconds: number } {
  if (!existsSync('/proc/self/stat')) return { mib: Number.NaN, peakMib: Number.NaN, cpuSeconds: Number.NaN }
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1])
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return {
    mib: Math.round(kib('VmRSS') / 1024),
    peakMib: Math.round(kib('VmHWM') / 1024),
    cpuSeconds: (Number(stat[11]) + Number(stat[12])) / 100,
  }
}

/** The script for wrk: each request has its own ids, and each acknowledged id is recorded. */
function script(channel: string, batch: number): string {
  const event = `'{"specversion":"1.0","id":"' .. id() .. '","source":"/wrk","type":"order.placed","data":{"order":"o-1","sku":"tea","quantity":2,"note":"about a hundred and fifty bytes of event"}}'`
  return `
local threads = 0
function setup(thread) thread:set('number', threads); threads = threads + 1 end
function init() count = 0; ledger = io.open('${folder}/ledger-${channel}-' .. number, 'w') end
function id() count = count + 1; return '${channel}-' .. number .. '-' .. count end
function request()
  ${
    batch === 1
      ? `return wrk.format('POST', nil, {['content-type'] = 'application/cloudevents+json'}, ${event})`
      : `local events = {}
  for index = 1, ${batch} do events[index] = ${event} end
  return wrk.format('POST', nil, {['content-type'] = 'application/cloudevents-batch+json'}, '[' .. table.concat(events, ',') .. ']')`
  }
end
function response(status, headers, body)
  if status ~= 202 then return end
  for id in body:gmatch('"id":"([^"]+)"') do ledger:write(id, '\\n') end
  ledger:flush()
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"us":%d,"errors":%d,"p50":%d,"p99":%d}\\n', summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
`
}

interface Load {
  readonly eventsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
  readonly cpuUsPerEvent: number
  readonly peakMib: number
}

async function publishLoad({ url, pid }: Serving, channel: string, batch: number): Promise<Load> {
  const file = join(folder, `${channel}.lua`)
  writeFileSync(file, script(channel, batch))
  const before = usage(pid)
  const child = spawn('wrk', ['-t2', '-c64', `-d${SECONDS}s`, '-s', file, `${url}/channels/${channel}/events`])
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  await new Promise((resolve) => child.once('exit', resolve))
  const summary = JSON.parse(/^\{.*\}$/m.exec(output)?.[0] ?? 'null') as {
    requests: number
    us: number
    errors: number
    p50: number
    p99: number
  } | null
  if (summary === null) throw new Error(`wrk said nothing that could be read:\n${output}`)
  const after = usage(pid)
  const events = summary.requests * batch
  return {
    eventsPerSecond: Math.round((events / summary.us) * 1e6),
    p50Ms: summary.p50 / 1000,
    p99Ms: summary.p99 / 1000,
    errors: summary.errors,
    cpuUsPerEvent: Math.round(((after.cpuSeconds - before.cpuSeconds) * 1e6) / events),
    peakMib: after.peakMib,
  }
}

/** Read the whole channel back, and compare it with what was acknowledged. */
async function readBack(
  { url }: Serving,
  channel: string,
): Promise<{ readonly acknowledged: number; readonly stored: number; readonly faults: readonly string[] }> {
  const seen = new Map<string, number>()
  for (let path: string | undefined = `/channels/${channel}/events?limit=1000`; path !== undefined; ) {
    const answer: Response = await fetch(`${url}${path}`)
    for (const { id } of (await answer.json()) as { id: string }[]) seen.set(id, (seen.get(id) ?? 0) + 1)
    path = /<(.+)>/.exec(answer.headers.get('link') ?? '')?.[1]
  }
  const faults = [...seen].flatMap(([id, times]) => (times > 1 ? [`${id} is there ${times} times`] : []))
  let acknowledged = 0
  for (const file of readdirSync(folder).filter((name) => name.startsWith(`ledger-${channel}-`))) {
    for (const id of readFileSync(join(folder, file), 'utf8').split('\n')) {
      if (id === '') continue
      acknowledged++
      if (!seen.has(id)) faults.push(`${id} was acknowledged and is lost`)
    }
  }
  return { acknowledged, stored: seen.size, faults }
}

interface Streaming {
  readonly streams: number
  readonly events: number
  readonly deliveriesPerSecond: number
  readonly idleMib: number
  readonly peakMib: number
  readonly cpuUsPerDelivery: number
  readonly faults: readonly string[]
}

/** Idle event streams, then events as fast as they are acknowledged: each stream receives each event once, in order. */
async function streamLoad({ url, pid }: Serving): Promise<Streaming> {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
  const got: string[][] = []
  const open = (index: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const ids: string[] = []
      got[index] = ids
      get(`${url}/channels/streamed/stream`, { agent }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`a stream was refused: ${response.statusCode}`))
        let text = ''
        response.on('error', () => undefined)
        response.on('data', (chunk: Buffer) => {
          resolve()
          text += chunk.toString()
          const end = text.lastIndexOf('\n\n')
          for (const [, id] of text.slice(0, end + 2).matchAll(/"id":"(e-\d+)"/g)) ids.push(id as string)
          text = text.slice(end + 2)
        })
      }).on('error', reject)
    })
  for (let index = 0; index < STREAMS; index += 50)
    await Promise.all(Array.from({ length: Math.min(50, STREAMS - index) }, (_, offset) => open(index + offset)))
  const idle = usage(pid)
  const started = performance.now()
  for (let index = 0; index < STREAM_EVENTS; index++) {
    const body = JSON.stringify({
      specversion: '1.0',
      id: `e-${index}`,
      source: '/bench',
      type: 'order.placed',
      data: { order: 'o-1', sku: 'tea' },
    })
    const answer = await fetch(`${url}/channels/streamed/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body,
    })
    await answer.text()
  }
  const until = performance.now() + 60_000
  while (got.some((ids) => ids.length < STREAM_EVENTS) && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 5))
  const seconds = (performance.now() - started) / 1000
  const after = usage(pid)
  const expected = Array.from({ length: STREAM_EVENTS }, (_, index) => `e-${index}`).join()
  const faults = got.flatMap((ids, index) =>
    ids.join() === expected ? [] : [`stream ${index} got ${ids.length} events, not ${STREAM_EVENTS} in order`],
  )
  agent.destroy()
  const deliveries = STREAMS * STREAM_EVENTS
  return {
    streams: STREAMS,
    events: STREAM_EVENTS,
    deliveriesPerSecond: Math.round(deliveries / seconds),
    idleMib: idle.mib,
    peakMib: after.peakMib,
    cpuUsPerDelivery: Math.round(((after.cpuSeconds - idle.cpuSeconds) * 1e6) / deliveries),
    faults,
  }
}

function wrkIsHere(): boolean {
  try {
    execFileSync('wrk', ['--version'], { stdio: 'ignore' })
  } catch (error) {
    // It prints its version and exits with 1.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
  return true
}

try {
  if (!wrkIsHere()) throw new Error('wrk is not installed: apt-get install wrk')
  const server = await serve()
  const single = await publishLoad(server, 'single', 1)
  console.log('single publishes', single)
  const batch = await publishLoad(server, 'batch', BATCH)
  console.log(`batches of ${BATCH}`, batch)
  const streams = await streamLoad(server)
  console.log('event streams', streams)
  const back = { single: await readBack(server, 'single'), batch: await readBack(server, 'batch') }
  await server.stop()
  const errors = single.errors + batch.errors
  const faults = [...back.single.faults, ...back.batch.faults, ...streams.faults]
  for (const [name, { acknowledged, stored }] of Object.entries(back))
    console.log(`${name}: ${acknowledged} acknowledged, ${stored - 1} stored`)
  console.log(
    `${errors} errors, ${faults.length} faults${faults.length === 0 ? '' : `: ${faults.slice(0, 5).join('; ')}`}`,
  )
  mkdirSync(join(ROOT, 'bench/results'), { recursive: true })
  const file = `gateway-${new Date().toISOString().replaceAll(':', '-')}.json`
  writeFileSync(
    join(ROOT, 'bench/results', file),
    `${JSON.stringify({ node: process.version, seconds: SECONDS, single, batch, streams, back }, null, 2)}\n`,
  )
  if (errors > 0 || faults.length > 0 || back.single.acknowledged === 0 || back.batch.acknowledged === 0)
    process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
