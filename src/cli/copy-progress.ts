/**
 * The progress of a copy on standard error: one line that is redrawn on a terminal, otherwise a new line every few
 * seconds.
 */
import type { CopyProgress } from '../copy/copy.ts'

const DRAW_MS = 100
const LINE_MS = 2000
const BAR_CELLS = 24

const number = new Intl.NumberFormat('en')

export class ProgressLine {
  readonly #out: { readonly isTTY?: boolean; readonly columns?: number; write(text: string): unknown }
  #current = ''
  #startedMs = 0
  #from = 0
  #drawnMs = Number.NEGATIVE_INFINITY
  #open = false

  constructor(
    out: { readonly isTTY?: boolean; readonly columns?: number; write(text: string): unknown } = process.stderr,
  ) {
    this.#out = out
  }

  update({ channel, step, done, total }: CopyProgress): void {
    const nowMs = performance.now()
    if (this.#current !== `${step} ${channel}`) {
      this.#current = `${step} ${channel}`
      this.#startedMs = nowMs
      this.#from = done
      this.#drawnMs = Number.NEGATIVE_INFINITY
    }
    const tty = this.#out.isTTY === true
    if (nowMs - this.#drawnMs < (tty ? DRAW_MS : LINE_MS) && done < total) return
    this.#drawnMs = nowMs
    const seconds = (nowMs - this.#startedMs) / 1000
    const rate = seconds > 0.2 ? `  ${number.format(Math.round((done - this.#from) / seconds))}/s` : ''
    const share = total === 0 ? 1 : done / total
    const counts = `${number.format(done)} of ${number.format(total)}${rate}`
    if (!tty) {
      this.#out.write(`${step} ${channel}  ${Math.floor(share * 100)} %  ${counts}\n`)
      return
    }
    const cells = Math.round(share * BAR_CELLS)
    const line = `${step.padEnd(7)} ${channel}  ${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)} ${String(Math.floor(share * 100)).padStart(3)} %  ${counts}`
    this.#out.write(`\r\x1b[2K${line.slice(0, (this.#out.columns ?? 120) - 1)}`)
    this.#open = true
  }

  /** Print a message on a line of its own. */
  say(text: string): void {
    this.end()
    this.#out.write(`${text}\n`)
  }

  end(): void {
    if (this.#open) this.#out.write('\n')
    this.#open = false
    this.#current = ''
  }
}
