/** `millrace table`: the state that a consumer keeps, or the latest events of a stream that keeps only these. */
import { MillraceError } from '../base/errors.ts'
import type { TableChange, TableEntry } from '../broker/table.ts'
import { complete, print, printJson } from './output.ts'
import { countOf, looking, type TargetOptions } from './target.ts'

export interface TableOptions extends TargetOptions {
  readonly prefix?: string
  readonly limit?: string
  readonly follow?: boolean
}

export async function tableCommand(name: string, key: string | undefined, options: TableOptions): Promise<void> {
  if (key !== undefined) return showKey(name, key, options)
  const limit = options.limit === undefined ? Number.POSITIVE_INFINITY : countOf('limit', options.limit, 1)
  let count = 0
  await looking(options, async (broker) => {
    const table = broker.table(name)
    const { prefix } = options
    const entries: AsyncIterable<TableChange> =
      options.follow === true ? table.follow() : table.entries(prefix === undefined ? {} : { prefix })
    for await (const entry of entries) {
      if (prefix !== undefined && !entry.key.startsWith(prefix)) continue
      show(entry, options)
      if (++count >= limit) break
    }
  })
  complete(`${count} key(s) of ${name}`, options)
}

async function showKey(name: string, key: string, options: TableOptions): Promise<void> {
  const entry = await looking(options, (broker) => broker.table(name).get(key))
  if (entry === undefined)
    throw new MillraceError('INVALID_OPTION', `table ${name} has no key "${key}"`, { option: 'key', value: key })
  show(entry, options)
}

function show(entry: TableChange | TableEntry, options: TableOptions): void {
  if (options.json === true) printJson(entry)
  else print(`${entry.key}\t${entry.value === undefined ? '(deleted)' : JSON.stringify(entry.value)}`)
}
