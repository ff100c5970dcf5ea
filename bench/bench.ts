/**
 * The parent process: runs measurements in child processes, in turns (A B A B), so that heaps do not disturb each other
 * and all subjects meet the same conditions. It creates and removes the temporary directories and the peers' servers.
 */
import { fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Figures, Params } from './case.ts'
import type { Task } from './child.ts'
import { median } from './load.ts'
import type { Peer, Server } from './system.ts'

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url))
const TMPFS = 0x01021994

export interface BenchOptions {
  readonly rounds: number
  /** The largest number of events in a measurement. */
  readonly eventsMax: number
  readonly quick: boolean
  /** The peers that can run on this machine. */
  readonly peers: readonly Peer[]
}

/** The figures of one subject over all rounds. */
export interface Measured {
  readonly subject: string
  readonly params: Params
  readonly rounds: readonly Figures[]
  /** The median of a figure. */
  figure(name: string): number
  all(name: string): number[]
}

export class Bench {
  readonly rounds: number
  readonly quick: boolean
  readonly peers: readonly Peer[]
  readonly #eventsMax: number
  readonly #root: string
  #directories = 0
  readonly #running = new Set<{ kill(signal: 'SIGKILL'): unknown }>()

  constructor(options: BenchOptions) {
    this.rounds = options.rounds
    this.quick = options.quick
    this.peers = options.peers
    this.#eventsMax = options.eventsMax
    this.#root = mkdtempSync(join(realDirectory(), 'millrace-bench-'))
    process.once('exit', () => this.#clean())
  }

  /** The number of events that a case wants, limited by what this run allows. */
  events(wanted: number): number {
    return Math.min(wanted, this.#eventsMax)
  }

  directory(): string {
    const path = join(this.#root, String(this.#directories++))
    mkdirSync(path)
    return path
  }

  remove(directory: string): void {
    rmSync(directory, { recursive: true, force: true })
  }

  /** Run one measurement in a child process; a peer gets a new server for it. */
  async measure(caseName: string, subject: string, params: Params, directory?: string): Promise<Figures> {
    const path = directory ?? this.directory()
    const serverPath = this.directory()
    const server = await this.peers.find((peer) => peer.name === subject)?.start(serverPath)
    try {
      const setting = { directory: path, url: server?.url ?? '', concurrency: 1000 }
      return await this.#inChild({ caseName, subject, setting, params })
    } finally {
      await stopped(server)
      this.remove(serverPath)
      if (directory === undefined) this.remove(path)
    }
  }

  /** Run the same measurement for several subjects in turns, for all rounds of this run. */
  async compare(
    caseName: string,
    subjects: readonly (readonly [subject: string, params: Params])[],
  ): Promise<Map<string, Measured>> {
    const rounds = new Map<string, Figures[]>(subjects.map(([subject]) => [subject, []]))
    for (let round = 0; round < this.rounds; round++) {
      for (const [subject, params] of subjects) rounds.get(subject)?.push(await this.measure(caseName, subject, params))
    }
    return new Map(subjects.map(([subject, params]) => [subject, measured(subject, params, rounds.get(subject) ?? [])]))
  }

  #inChild(task: Task): Promise<Figures> {
    return new Promise((resolve, reject) => {
      const child = fork(CHILD, [JSON.stringify(task)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
      this.#running.add(child)
      let figures: Figures | undefined
      child.on('message', (message: Figures) => {
        figures = message
      })
      child.on('error', reject)
      child.on('exit', (code, signal) => {
        this.#running.delete(child)
        if (figures !== undefined) resolve(figures)
        else
          reject(
            new Error(
              `${task.caseName} of ${task.subject} (${JSON.stringify(task.params)}) ended with ${signal ?? `code ${code}`}: see above`,
            ),
          )
      })
    })
  }

  #clean(): void {
    for (const child of this.#running) child.kill('SIGKILL')
    rmSync(this.#root, { recursive: true, force: true })
  }
}

function measured(subject: string, params: Params, rounds: readonly Figures[]): Measured {
  const all = (name: string): number[] => rounds.map((figures) => figures[name] ?? Number.NaN)
  return { subject, params, rounds, all, figure: (name) => median(all(name)) }
}

async function stopped(server: Server | undefined): Promise<void> {
  await server?.stop()
}

/** A directory on a disk. If the system's temporary directory is in memory, syncing it would measure nothing. */
function realDirectory(): string {
  const chosen = process.env['MILLRACE_BENCH_DIR'] ?? tmpdir()
  if (statfsSync(chosen).type !== TMPFS) return chosen
  const own = fileURLToPath(new URL('../results/', import.meta.url))
  mkdirSync(own, { recursive: true })
  return own
}
