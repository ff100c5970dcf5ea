/** `millrace data migrate`: the tables of the outbox, in the database that a module of the application exports. */
import { MillraceError } from '../base/errors.ts'
import { migrate, migrationScript } from '../data/migrations/migrations.ts'
import { databaseOf } from '../sql/handle-of.ts'
import type { SqlDialect } from '../sql/sql-handle.ts'
import { complete, type OutputOptions, print, printJson } from './output.ts'
import { userModule } from './user-module.ts'

export interface DataMigrateOptions extends OutputOptions {
  readonly plan?: boolean
  readonly dialect?: string
  readonly export: string
}

export async function dataMigrateCommand(path: string | undefined, options: DataMigrateOptions): Promise<void> {
  if (path === undefined) return printed(dialectOf(options), options)
  if (options.dialect !== undefined)
    throw refused('--dialect is for --plan without a module: the database of a module says its dialect', 'dialect')
  const database = await exported(path, options.export)
  if (options.plan === true) return printed(databaseOf(database, `"${options.export}" of ${path}`).dialect, options)
  await migrate(database)
  if (options.json === true) printJson({ migrated: true })
  complete('the tables of the outbox are there', options)
  await closed(database)
}

function printed(dialect: SqlDialect, options: OutputOptions): void {
  const script = migrationScript(dialect)
  if (options.json === true) printJson({ dialect, script })
  else print(script)
}

function dialectOf({ plan, dialect }: DataMigrateOptions): SqlDialect {
  if (plan !== true)
    throw refused(
      'give the module that exports your database, or --plan with --dialect to print the statements',
      'module',
    )
  if (dialect === 'postgres' || dialect === 'sqlite') return dialect
  throw refused(
    `--dialect is postgres or sqlite; it is ${dialect === undefined ? 'missing' : `"${dialect}"`}`,
    'dialect',
  )
}

/** @throws INVALID_OPTION */
async function exported(path: string, name: string): Promise<object> {
  const module = await userModule(path)
  const value = module[name]
  if ((typeof value === 'object' || typeof value === 'function') && value !== null) return value
  const names = Object.keys(module).join(', ')
  throw refused(
    `${path} does not export "${name}": it exports ${names === '' ? 'nothing' : names}; use --export`,
    'export',
  )
}

function refused(message: string, option: string): MillraceError {
  return new MillraceError('INVALID_OPTION', message, { option })
}

/** An open pool would keep the command from ending. */
async function closed(database: object): Promise<void> {
  const { end, close } = database as { end?: unknown; close?: unknown }
  const ending = typeof end === 'function' ? end : typeof close === 'function' ? close : null
  await (ending?.call(database) as unknown)
}
