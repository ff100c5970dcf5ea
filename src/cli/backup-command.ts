/** `millrace backup`: a copy of a data directory, also while it is in use. */
import { complete, printJson } from './output.ts'
import { changing, type TargetOptions } from './target.ts'

export async function backupCommand(directory: string, options: TargetOptions): Promise<void> {
  const backup = await changing(options, (broker) => broker.backup(directory))
  if (options.json === true) printJson(backup)
  complete(`copied ${backup.bytes} bytes to ${backup.directory}: open it as file:${directory}`, options)
}
