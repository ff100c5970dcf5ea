/**
 * The tables of Millrace in a Postgres, as the statements that make them. All are in one schema (`?schema=`, by default
 * `millrace`). docs/engines/postgres.md shows them to people who read them with plain SQL.
 *
 * | table | content |
 * | --- | --- |
 * | `meta` | the version of the tables: one row |
 * | `channels` | a row for each channel: its registration, and the table that takes its new events |
 * | `events_ID` | the events of a channel; only added to. A partition `events_ID_N` holds a million positions |
 * | `floors` | positions below which events are deleted: of a partition, (-1) of the channel; (-2) is for ids |
 * | `superseded` | ids of events that were deleted because a later one has their key |
 * | `consumer_logs`, `consumer_log_entries` | consumer logs; only added to |
 * | `members` | the last heartbeat of each member of a group |
 * | `incoming` | events of plain SQL, until the commit that stores them; emptied now and then |
 * | `dropped` | tables of removed channels, until they can be dropped |
 *
 * No row is updated for each event: a table that is only added to stays fast while an old transaction keeps Postgres
 * from cleaning up.
 */
import { FUNCTIONS } from './functions/functions.ts'

/** The version of these tables and functions. Another version is not worked with. */
export const TABLES_VERSION = 1

const TABLES = `
CREATE TABLE $S.meta (version int NOT NULL);

CREATE TABLE $S.channels (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  entry text NOT NULL,
  segment bigint NOT NULL DEFAULT 0,
  partitions int NOT NULL,
  dedupe_ms bigint NOT NULL,
  dedupe_count bigint NOT NULL,
  latest boolean NOT NULL,
  keep_ms bigint,
  keep_count bigint,
  keep_bytes bigint
);

CREATE TABLE $S.floors (
  channel int NOT NULL,
  partition int NOT NULL,
  position bigint NOT NULL,
  PRIMARY KEY (channel, partition)
) WITH (fillfactor = 50);

CREATE TABLE $S.superseded (
  channel int NOT NULL,
  id text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  time_ms bigint NOT NULL,
  total bigint NOT NULL
);
CREATE INDEX ON $S.superseded (channel, hashtextextended(id, 0));

CREATE TABLE $S.consumer_logs (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE $S.consumer_log_entries (
  log int NOT NULL,
  version bigint NOT NULL,
  entry bytea NOT NULL,
  PRIMARY KEY (log, version)
);

CREATE TABLE $S.members (
  member_group text COLLATE "C" NOT NULL,
  member text COLLATE "C" NOT NULL,
  said text NOT NULL,
  until_ms bigint NOT NULL,
  PRIMARY KEY (member_group, member)
) WITH (fillfactor = 50);

CREATE TABLE $S.dropped (name text NOT NULL);

CREATE TABLE $S.incoming (channel text NOT NULL, key text, id text NOT NULL, type text NOT NULL, event text NOT NULL);
`

/** The statements that make the tables and functions in a schema. */
export function tablesSql(schema: string): string {
  return `${TABLES}${FUNCTIONS}\nINSERT INTO $S.meta VALUES (${TABLES_VERSION});\n`.replaceAll('$S', schema)
}
