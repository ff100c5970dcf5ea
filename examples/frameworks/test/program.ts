/** An example as a user starts it: compiled, in a process of its own, on a free port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export class Program {
  readonly #child: ChildProcess
  readonly exited: Promise<number | string | null>
  output = ''
  url = ''

  private constructor(main: string, env: Readonly<Record<string, string>>) {
    this.#child = spawn(process.execPath, [fileURLToPath(new URL(`../dist/${main}`, import.meta.url))], {
      env: { PATH: process.env['PATH'], PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString()
      })
    this.exited = new Promise((resolve) => this.#child.once('exit', (code, signal) => resolve(signal ?? code)))
  }

  /** Resolves when it listens. */
  static async start(main: string, env: Readonly<Record<string, string>>): Promise<Program> {
    const program = new Program(main, env)
    for (let tries = 0; tries < 600; tries++) {
      const port = /listening on port (\d+)/.exec(program.output)?.[1]
      if (port !== undefined) {
        program.url = `http://127.0.0.1:${port}`
        return program
      }
      if (program.#child.exitCode !== null) break
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    program.#child.kill('SIGKILL')
    throw new Error(`${main} does not listen:\n${program.output}`)
  }

  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string | null> {
    this.#child.kill(signal)
    return this.exited
  }
}
