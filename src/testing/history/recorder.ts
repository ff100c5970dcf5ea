/** Writing a history down while it happens, around the calls that make it. */
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
   * @param options.clock grows in every process together. @default a counter of this recorder
   * @param options.write gets each operation as a JSON line, at once, for processes that are killed
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

  /** A publish: what it answers is kept, what it throws is a refusal, or, where `unknown` says so of the error, nobody knows. */
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

  /** A handler's run, from its call to its end. With a signal that has aborted by then, its end is of unknown outcome. */
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

/** The operations of a file that a recorder wrote. A last line that is not whole is left out: its process was killed. */
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
