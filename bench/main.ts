/**
 * `npm run bench`: measures, prints a table, writes JSON to bench/results. Timings never fail it; a lost or doubled
 * event does.
 *
 *   --quick       a few seconds in all: shows that it works, measures nothing
 *   --peers       also Redis Streams, NATS JetStream, Kafka, BullMQ and pg-boss, where their servers are installed
 *   --engines     only Millrace's engines over other brokers, each beside a plain program on the same server
 *                 (with `--only kafka`, one of them)
 *   --only NAMES  these cases or peers only (comma between; part of a name is enough)
 *   --events N    no more than N events in any one measurement
 *   --rounds N    how often each measurement is repeated, in turns (3)
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Bench } from './bench.ts'
import type { Row } from './case.ts'
import { CASES } from './cases.ts'
import type { Peer } from './system.ts'
import { ENGINE_PAIRS, PEER_NAMES, peerOf } from './systems.ts'
import { caseText, verdict } from './table.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    engines: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    events: { type: 'string' },
    rounds: { type: 'string' },
  },
})
const only = values.only.split(',').filter((name) => name !== '')
if (values.engines) only.push('engines')
const onlyPeers = PEER_NAMES.filter((name) => only.some((part) => name === part))
const cases = CASES.filter(({ name }) => only.length === onlyPeers.length || only.some((part) => name.includes(part)))

function whole(text: string | undefined, option: string, otherwise: number): number {
  const number = Number(text ?? otherwise)
  if (Number.isSafeInteger(number) && number > 0) return number
  throw new Error(`--${option} takes a whole number above 0; it is ${text}`)
}

async function peersHere(): Promise<Peer[]> {
  const found: Peer[] = []
  const pairs = ENGINE_PAIRS.filter(
    (pair) => onlyPeers.length === 0 || pair.some((name) => onlyPeers.some((only) => only === name)),
  )
  const paired = values.engines ? pairs.flat() : []
  for (const name of values.peers ? PEER_NAMES : [...onlyPeers, ...paired]) {
    const peer = await peerOf(name)
    const missing =
      onlyPeers.length > 0 && ![...onlyPeers, ...paired].some((each) => each === name)
        ? 'left out by --only'
        : await peer?.missing()
    if (peer !== null && missing === null) found.push(peer)
    else console.log(`${name}: not measured, ${missing}`)
  }
  return found
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'unknown'
  }
}

const started = new Date()
const machine = {
  node: process.version,
  platform: `${process.platform} ${process.arch} ${release()}`,
  cpus: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  commit: commit(),
}
console.log(
  `millrace bench · ${Object.values(machine).join(' · ')} GB\n`.replace(
    ` · ${machine.commit} GB`,
    ` GB · ${machine.commit}`,
  ),
)
if (cases.length === 0)
  throw new Error(`no case is named "${values.only}": there are ${CASES.map(({ name }) => name).join(', ')}`)
// `exit` also ends child processes and servers and removes directories.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
const bench = new Bench({
  rounds: whole(values.rounds, 'rounds', values.quick ? 1 : 3),
  eventsMax: whole(values.events, 'events', values.quick ? 500 : 10_000_000),
  quick: values.quick,
  peers: await peersHere(),
})
const rows: (Row & { readonly caseName: string; readonly title: string })[] = []
for (const one of cases) {
  const measured = (await one.run(bench)).map((row) => (values.quick ? { ...row, checks: [] } : row))
  rows.push(...measured.map((row) => ({ caseName: one.name, title: one.title, ...row })))
  console.log(caseText(`${one.title}  (--only ${one.name})`, measured))
}
console.log(values.quick ? `${rows.length} figures measured; --quick is too short to judge by` : verdict(rows))
const folder = fileURLToPath(new URL('../results/', import.meta.url))
mkdirSync(folder, { recursive: true })
const file = `${folder}${started.toISOString().replaceAll(':', '-')}.json`
writeFileSync(file, `${JSON.stringify({ started, machine, options: values, rows }, null, 2)}\n`)
console.log(`written: bench/results/${file.slice(folder.length)}`)
