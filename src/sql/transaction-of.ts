/** The type of the object that a library gives for a transaction, from the type of its database. */

type Work<Tx> = (tx: Tx) => PromiseLike<unknown>

/**
 * Of a pool of `pg` its `query`, of `postgres`, Drizzle, Kysely and Knex what their own transactions give, of a SQLite
 * database the database itself.
 */
export type TransactionOf<Database> = Database extends { readonly totalCount: number; readonly query: infer Query }
  ? { readonly query: Query }
  : Database extends { begin(options: string, work: Work<infer Tx>): unknown }
    ? Tx
    : Database extends { selectFrom: unknown; transaction(): { execute(work: Work<infer Tx>): unknown } }
      ? Tx
      : Database extends { execute: unknown; transaction(work: Work<infer Tx>, config?: never): unknown }
        ? Tx
        : Database extends { raw: unknown; transaction(work: (tx: infer Tx) => unknown, config?: never): unknown }
          ? Tx
          : Database
