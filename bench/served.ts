/**
 * Millrace in two or more processes: either a server over a directory with this process as its WebSocket client, or
 * this process beside the directory's owner.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { connect } from 'millrace'
import { SOURCE } from './events.ts'
import { MillraceSystem } from './millrace.ts'
import type { Setting } from './system.ts'

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** `millrace serve` on the directory, and a connection to its WebSocket. */
export class ServedSystem extends MillraceSystem {
  #server: ChildProcess | null = null

  static override async open({
    directory,
    concurrency,
  }: Pick<Setting, 'directory' | 'concurrency'>): Promise<ServedSystem> {
    const server = spawn(process.execPath, [CLI, 'serve', '--data', directory, '--port', '0', '--json'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    process.once('exit', () => server.kill('SIGKILL'))
    const line = await new Promise<string>((resolve, reject) => {
      server.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString()))
      server.once('exit', (code) => reject(new Error(`millrace serve ended with ${code}`)))
    })
    const { url } = JSON.parse(line) as { readonly url: string }
    const system = new ServedSystem(await connect(url.replace('http', 'ws'), { source: SOURCE }), concurrency)
    system.#server = server
    return system
  }

  override async close(): Promise<void> {
    await super.close()
    const server = this.#server as ChildProcess
    const ended = new Promise((resolve) => server.once('exit', resolve))
    server.kill('SIGTERM')
    await ended
  }
}
