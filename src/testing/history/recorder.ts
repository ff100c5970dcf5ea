/** Records a history while it happens, around the calls that cause it. */
import { MillraceError } from '../../base/errors.ts'
import { shown } from '../../base/shown.ts'
import type { Operation } from './operation.ts'

type Without<T> = T extends Operation ? Omit<T, 'time'> : never

export interface SendAttempt {
  readonly process: string
  readonly channel: string
  readonly key: string | null
  readonly value: string
}

export interface HandlingAttempt extends SendAttempt {
  readonly consumer: string
  readonly offset: number
  readonly attempt: number
  /** See `Poll.again`. */
  readonly again?: boolean
}

export class HistoryRecorder {
  readonly operations: Operation[] = []
  readonly #clock: () => number
  readonly #write: (line: string) => void

  /**
   * @param options.clock increases over all processes. @default a counter of this recorder
   * @param options.write is called with each operation as a JSON line, at once, for processes that are killed
   */
  constructor(options: { readonly clock?: () => number; readonly write?: (line: string) => void } = {}) {
    let count = 0
    this.#clock = options.clock ?? (() => ++count)
    this.#write = options.write ?? (() => undefined)
  }

  note(operation: Without<Operation>): void {
    const timed = { ...operation, time: this.#clock() } as Operation
    this.operations.push(timed)
    this.#write(`${JSON.stringify(timed)}\n`)
  }

  /**
   * Record a publish. If it resolves, its answer is recorded. If it throws, it was refused; or its outcome is unknown,
   * if `unknown` says so of the error.
   */
  async send<R extends { readonly offset: number | null }>(
    what: SendAttempt,
    publish: () => Promise<R>,
    unknown: (error: unknown) => boolean = () => false,
  ): Promise<R> {
    this.note({ action: 'send', outcome: 'invoke', offset: null, ...what })
    try {
      const receipt = await publish()
      this.note({ action: 'send', outcome: 'ok', ...what, offset: receipt.offset })
      return receipt
    } catch (error) {
      this.note({ action: 'send', outcome: unknown(error) ? 'unknown' : 'fail', offset: null, ...what })
      throw error
    }
  }

  /** Record a handler from its call to its end. If the signal has aborted by then, its outcome is unknown. */
  async handle<R>(what: HandlingAttempt, run: () => R | Promise<R>, signal?: AbortSignal): Promise<R> {
    const { process, consumer, channel, offset, value, attempt } = what
    const done = { action: 'done', process, consumer, channel, offset, value, attempt } as const
    this.note({ action: 'poll', ...what })
    try {
      const result = await run()
      this.note({ ...done, outcome: 'invoke' })
      this.note({ ...done, outcome: signal?.aborted === true ? 'unknown' : 'ok' })
      return result
    } catch (error) {
      this.note({ ...done, outcome: 'invoke' })
      this.note({ ...done, outcome: signal?.aborted === true ? 'unknown' : 'fail' })
      throw error
    }
  }
}

/**
 * The operations in a file that a recorder wrote. An incomplete last line is ignored, because its process was killed.
 */
export function readHistory(text: string): Operation[] {
  if (typeof text !== 'string')
    throw new MillraceError('INVALID_OPTION', `a history is read from text; this is ${shown(text)}`, { option: 'text' })
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as Operation]
    } catch {
      return []
    }
  })
}
