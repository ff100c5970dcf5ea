/** `millrace check`: what of a data directory is damaged, what is lost by it, and a repair that keeps what was there. */
import { checkDirectory } from '../engines/embedded/repair.ts'
import { colour, complete, EXIT, print, printJson, table } from './output.ts'
import { directoryOf, type TargetOptions } from './target.ts'

export interface CheckOptions extends TargetOptions {
  readonly repair?: boolean
}

export async function checkCommand(path: string | undefined, options: CheckOptions): Promise<void> {
  const report = await checkDirectory(path ?? directoryOf(options), options.repair === true)
  const lost = report.channels.reduce((sum, channel) => sum + channel.lost.reduce((all, [from, to]) => all + to - from, 0), 0)
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
  }
  const found = `${report.problems.length} problem(s), ${lost} event(s) lost, in ${report.directory}`
  if (report.problems.length === 0) complete(`nothing is damaged in ${report.directory}`, options)
  else if (report.keptAs !== undefined) complete(`repaired: ${found}; what was there is kept in ${report.keptAs}`, options)
  else {
    complete(`${found}. Restore a backup, or save what can be read: millrace check ${report.directory} --repair`, options)
    process.exitCode = EXIT.failed
  }
}
