/** The two consumers of a process that runs, as one. */
import type { Running, RunSummary } from '../consumer/consumer-types.ts'

export class RunningProcess implements Running {
  readonly name: string
  readonly done: Promise<RunSummary>
  readonly #intake: Running
  readonly #steps: Running

  constructor(name: string, taking: Running, steps: Running) {
    this.name = name
    this.#intake = taking
    this.#steps = steps
    this.done = Promise.all([taking.done, steps.done]).then(([, summary]) => summary)
    this.done.catch(() => undefined)
  }

  /** Both are stopped, also when one of them fails to. The summary is that of the steps. */
  async stop(): Promise<RunSummary> {
    let summary: RunSummary
    try {
      await this.#intake.stop()
    } finally {
      summary = await this.#steps.stop()
    }
    return summary
  }

  pause(): void {
    this.#intake.pause()
    this.#steps.pause()
  }

  resume(): void {
    this.#intake.resume()
    this.#steps.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
