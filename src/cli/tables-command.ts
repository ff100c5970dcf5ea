/** `millrace tables`: prints or makes the tables of Millrace in a Postgres, for those who review what is run there. */
import { MillraceError } from '../base/errors.ts'
import { makeTables, tablesPlan } from '../engines/postgres/migrations.ts'
import { complete, type OutputOptions, print, printJson } from './output.ts'

export interface TablesOptions extends OutputOptions {
  readonly url?: string
  readonly plan?: boolean
}

export async function tablesCommand(options: TablesOptions): Promise<void> {
  const { url = '' } = options
  if (!/^postgres(ql)?:/i.test(url))
    throw new MillraceError('INVALID_OPTION', '--url must be the URL of a Postgres, as postgres://host/database', {
      option: 'url',
    })
  if (options.plan === true) {
    const { schema, version, sql } = tablesPlan(url)
    if (options.json === true) printJson({ schema, version, sql })
    else print(sql)
    return
  }
  const { schema, version } = await makeTables(url)
  if (options.json === true) printJson({ schema, version })
  complete(`the schema "${schema}" has the tables of Millrace, version ${version}`, options)
}
