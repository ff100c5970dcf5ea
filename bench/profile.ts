/**
 * Runs one measurement under the CPU profiler, and prints the functions with the most self time.
 *
 *   node bench/dist/profile.js end-to-end millrace --in-flight 1000 --events 500000 [--top 30] [--keep out.cpuprofile]
 *
 * The case and the subject are those of the table (`publish`, `end-to-end`, `round-trip`, `latency`, … · `millrace`,
 * `ceiling`).
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'in-flight': { type: 'string', default: '1000' },
    events: { type: 'string', default: '500000' },
    consumers: { type: 'string', default: '1' },
    top: { type: 'string', default: '30' },
    keep: { type: 'string' },
  },
})
const [caseName = 'end-to-end', subject = 'millrace'] = positionals
const root = mkdtempSync(join(tmpdir(), 'millrace-profile-'))
try {
  const inFlight = Number(values['in-flight'])
  const params = {
    inFlight,
    events: Number(values.events),
    warmup: 0,
    consumers: Number(values.consumers),
    rate: 1000,
    seconds: 10,
  }
  const task = { caseName, subject, setting: { directory: join(root, 'data'), url: '', concurrency: inFlight }, params }
  execFileSync('mkdir', ['-p', task.setting.directory])
  const child = fileURLToPath(new URL('./child.js', import.meta.url))
  execFileSync(
    process.execPath,
    ['--cpu-prof', '--cpu-prof-interval', '200', `--cpu-prof-dir=${root}`, child, JSON.stringify(task)],
    { stdio: 'inherit' },
  )
  const file = readdirSync(root).find((name) => name.endsWith('.cpuprofile')) ?? ''
  report(JSON.parse(readFileSync(join(root, file), 'utf8')) as CpuProfile, Number(values.top))
  if (values.keep !== undefined) copyFileSync(join(root, file), values.keep)
} finally {
  rmSync(root, { recursive: true, force: true })
}

function report({ nodes, samples, timeDeltas }: CpuProfile, top: number): void {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      `${functionName || (url === '' ? '(made from text, as zod does)' : '(anonymous)')}  ${placeOf(url, lineNumber)}`,
    ]),
  )
  const own = new Map<string, number>()
  let total = 0
  for (const [at, id] of samples.entries()) {
    const name = names.get(id) ?? '?'
    if (name.startsWith('(idle)')) continue
    const spent = timeDeltas[at] ?? 0
    own.set(name, (own.get(name) ?? 0) + spent)
    total += spent
  }
  console.log(`\n${(total / 1000).toFixed(0)} ms busy; own time of the first ${top}:`)
  const most = [...own].sort((a, b) => b[1] - a[1]).slice(0, top)
  for (const [name, spent] of most)
    console.log(
      `${((spent / total) * 100).toFixed(1).padStart(6)} %  ${(spent / 1000).toFixed(0).padStart(7)} ms  ${name}`,
    )
}

function placeOf(url: string, line: number): string {
  if (url === '') return ''
  const short = url.replace(/^file:\/\//, '').replace(/^.*\/node_modules\//, '')
  return `${short.replace(fileURLToPath(new URL('../../', import.meta.url)), '')}:${line + 1}`
}
