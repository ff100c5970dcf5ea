/** The shop as a user starts it: compiled, in its own process. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const main = join(root, 'examples/dist/shop/main.js')
const lock = join(root, 'examples/.building')
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** When the shop's sources were last changed. */
function lastChangeMs(): number {
  return Math.max(
    0,
    ...readdirSync(join(root, 'examples'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.parentPath.includes('dist'))
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  )
}

/**
 * Compile the shop, unless it is unchanged. Only one test file at a time does this. The library is not compiled here:
 * other tests run it from `dist` at the same time. Needs `npm run build`, as `npm test` does.
 */
export async function buildShop(): Promise<void> {
  if (!existsSync(join(root, 'dist/index.js'))) throw new Error('there is no dist: run `npm run build` first')
  for (let tries = 0; ; tries++) {
    try {
      mkdirSync(lock)
      break
    } catch {
      if (tries > 600)
        throw new Error(`another test run builds the shop for a minute already; if there is none, delete ${lock}`)
      await wait(100)
    }
  }
  try {
    if (existsSync(main) && statSync(main).mtimeMs > lastChangeMs()) return
    const compiler = join(root, 'node_modules/typescript/bin/tsc')
    // `npm run typecheck` checks types. Here only the JavaScript matters, which is written even if there are errors.
    await promisify(execFile)(process.execPath, [compiler, '-p', 'examples/tsconfig.json'], { cwd: root }).catch(
      () => {},
    )
    if (!existsSync(main)) throw new Error('the shop does not compile: run npm run build')
  } finally {
    rmSync(lock, { recursive: true })
  }
}

export class ShopProcess {
  readonly #child: ChildProcess
  readonly exited: Promise<number | null>
  output = ''
  url = ''

  private constructor(args: readonly string[]) {
    this.#child = spawn(process.execPath, [main, '--port', '0', ...args], {
      cwd: root,
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString()
      })
    }
    this.exited = new Promise((resolve) => this.#child.once('exit', (code) => resolve(code)))
  }

  static async start(...args: readonly string[]): Promise<ShopProcess> {
    const shop = new ShopProcess(args)
    for (let tries = 0; tries < 300; tries++) {
      const url = /the shop\s+(http:\S+)\//.exec(shop.output)?.[1]
      if (url !== undefined && shop.output.includes('Ctrl-C')) {
        shop.url = url
        return shop
      }
      if (shop.#child.exitCode !== null) break
      await wait(50)
    }
    throw new Error(`the shop did not open:\n${shop.output}`)
  }

  /** Kill it without warning. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exited
  }

  /** Ctrl-C. */
  async stop(): Promise<number | null> {
    this.#child.kill('SIGINT')
    return this.exited
  }

  async get<Body>(path: string, headers: Record<string, string> = {}): Promise<Body> {
    const answer = await fetch(`${this.url}${path}`, { headers })
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    return (await answer.json()) as Body
  }
}
