/**
 * `millrace check`: shows what is damaged in a data directory and what is lost, and repairs it without deleting the old
 * data.
 */
import { checkDirectory } from '../engines/embedded/repair.ts'
import type { Loss } from '../engines/embedded/repair-records.ts'
import { colour, complete, EXIT, print, printJson, table } from './output.ts'
import { directoryOf, type TargetOptions } from './target.ts'

export interface CheckOptions extends TargetOptions {
  readonly repair?: boolean
}

export async function checkCommand(path: string | undefined, options: CheckOptions): Promise<void> {
  const report = await checkDirectory(path ?? directoryOf(options), options.repair === true)
  const lost = report.channels.reduce(
    (sum, channel) => sum + channel.lost.reduce((all, [from, to]) => all + to - from, 0),
    0,
  )
  if (options.json === true) printJson(report)
  else {
    for (const { file, problem } of report.problems) print(`${colour('red', file)}: ${problem}`)
    const rows = report.channels.map(({ name, first, next, lost: gaps }) => [
      name,
      first,
      next,
      gaps.map(([from, to]) => `${from}–${to - 1}`).join(' ') || 'nothing',
    ])
    if (rows.length > 0) print(table(['channel', 'first', 'next', 'lost'], rows))
    if (report.losses.length > 0)
      print(table(['', 'lost beside them', 'channel', 'consumer', 'how many', 'which'], report.losses.map(lossRow)))
  }
  const found = `${report.problems.length} problem(s), ${lost} event(s) lost${besides(report.losses)}, in ${report.directory}`
  if (report.problems.length === 0) complete(`nothing is damaged in ${report.directory}`, options)
  else if (report.keptAs !== undefined)
    complete(`repaired: ${found}; the old files are kept in ${report.keptAs}`, options)
  else {
    complete(
      `${found}. Restore a backup, or save everything that can be read: millrace check ${report.directory} --repair`,
      options,
    )
    process.exitCode = EXIT.failed
  }
}

function lossRow({ what, channel, consumer, count, certain, which }: Loss): string[] {
  const many = count === null ? 'not known' : certain ? String(count) : `up to ${count}`
  const rest = (count ?? 0) > which.length && which.length > 0 ? ' …' : ''
  return [certain ? 'is lost' : 'may be lost', what, channel ?? '', consumer ?? '', many, `${which.join(', ')}${rest}`]
}

/** Further losses as text, such as ", 2 × dead letter, and perhaps more". */
function besides(losses: readonly Loss[]): string {
  const sums = new Map<string, number>()
  for (const { what, count, certain } of losses) if (certain) sums.set(what, (sums.get(what) ?? 0) + (count ?? 0))
  const certain = [...sums].map(([what, count]) => `, ${count} × ${what}`).join('')
  return `${certain}${losses.some((loss) => !loss.certain || loss.what === 'commit') ? ', and perhaps more' : ''}`
}
