/** The entry `millrace/data`: a database as a producer of events. */

export { type DrizzleLike, fromDrizzle } from '../sql/adapters/drizzle.ts'
export { fromKnex, type KnexLike } from '../sql/adapters/knex.ts'
export { fromKysely, type KyselyLike } from '../sql/adapters/kysely.ts'
export { fromPgClient, fromPgPool, type PgClientLike, type PgPoolLike } from '../sql/adapters/node-postgres.ts'
export { fromFunction, type RunStatement } from '../sql/adapters/own-function.ts'
export { fromPostgresJs, type PostgresJsLike } from '../sql/adapters/postgres-js.ts'
export { fromSqlite, type SqliteLike } from '../sql/adapters/sqlite.ts'
export type { AsyncSqlHandle, SqlDialect, SqlHandle, SqlRow, SqlValue, SyncSqlHandle } from '../sql/sql-handle.ts'
export type { TransactionOf } from '../sql/transaction-of.ts'
export { migrate, migrationScript } from './migrations/migrations.ts'
export { type Outbox, type OutboxOptions, type OutboxReceipt, type OutboxReceiptOf, outbox } from './outbox/outbox.ts'
export { type OutboxRelayOptions, outboxRelay } from './relay/outbox-relay.ts'
export type { RelaySummary, RunningRelay } from './relay/running-relay.ts'
export type { OutboxDeadLetter, OutboxDescription } from './view/outbox-facts.ts'
export {
  type OutboxDeadLetterQuery,
  type OutboxDeadLetters,
  type OutboxView,
  outboxOf,
} from './view/outbox-view.ts'
