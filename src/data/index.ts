/** The entry `millrace/data`: a database as a producer of events. */

export { fromPgClient, fromPgPool, type PgClientLike, type PgPoolLike } from '../sql/adapters/node-postgres.ts'
export { fromSqlite, type SqliteLike } from '../sql/adapters/sqlite.ts'
export type { AsyncSqlHandle, SqlDialect, SqlHandle, SqlRow, SqlValue, SyncSqlHandle } from '../sql/sql-handle.ts'
export { migrate, migrationScript } from './migrations/migrations.ts'
export { type Outbox, type OutboxOptions, type OutboxReceipt, type OutboxReceiptOf, outbox } from './outbox/outbox.ts'
export { type OutboxRelayOptions, outboxRelay } from './relay/outbox-relay.ts'
export type { RelaySummary, RunningRelay } from './relay/running-relay.ts'
