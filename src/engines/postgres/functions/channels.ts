/**
 * The functions of the server that create, change and remove channels. `$S` stands for the schema.
 */
import { NO_CHANNEL, SEGMENT_POSITIONS } from './constants.ts'

/** What is committed is on disk, also where the server does not sync by default. */
export const SYNC: string = `
CREATE FUNCTION $S.now_ms() RETURNS bigint LANGUAGE sql AS $f$
  SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
$f$;

CREATE FUNCTION $S.hashes_of(in_ids text[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE AS $f$
  SELECT array_agg(hashtextextended(i, 0)) FROM unnest(in_ids) i
$f$;

CREATE FUNCTION $S.channel_of(in_name text) RETURNS $S.channels LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c $S.channels;
BEGIN
  SELECT * INTO c FROM $S.channels WHERE name = in_name;
  IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = '${NO_CHANNEL}', MESSAGE = 'no channel ' || in_name; END IF;
  RETURN c;
END $f$;

CREATE FUNCTION $S.sync() RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN PERFORM set_config('synchronous_commit', 'on', true); END IF;
END $f$;
`

/** Makes a table for a stretch of positions, and lets new events go there. Needs only weak locks on the channel. */
export const SEGMENT: string = `
CREATE FUNCTION $S.add_segment(in_id int, in_segment bigint) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
  lower bigint := in_segment * ${SEGMENT_POSITIONS};
BEGIN
  EXECUTE format('CREATE TABLE $S.events_%s_%s (LIKE $S.events_%s INCLUDING DEFAULTS INCLUDING STORAGE)', in_id, in_segment, in_id);
  EXECUTE format('ALTER TABLE $S.events_%s ATTACH PARTITION $S.events_%s_%s FOR VALUES FROM (%s) TO (%s)',
    in_id, in_id, in_segment, lower, lower + ${SEGMENT_POSITIONS});
  UPDATE $S.channels SET segment = in_segment WHERE id = in_id AND segment < in_segment;
END $f$;
`

export const CREATE_CHANNEL: string = `
CREATE FUNCTION $S.create_channel(in_name text, in_entry text, in_partitions int, in_dedupe_ms bigint, in_dedupe_count bigint,
  in_latest boolean, in_keep_ms bigint, in_keep_count bigint, in_keep_bytes bigint) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
  new_id int;
BEGIN
  PERFORM $S.sync();
  INSERT INTO $S.channels (name, entry, partitions, dedupe_ms, dedupe_count, latest, keep_ms, keep_count, keep_bytes)
  VALUES (in_name, in_entry, in_partitions, in_dedupe_ms, in_dedupe_count, in_latest, in_keep_ms, in_keep_count, in_keep_bytes)
  ON CONFLICT DO NOTHING RETURNING id INTO new_id;
  IF new_id IS NULL THEN RETURN; END IF;
  EXECUTE format('CREATE TABLE $S.events_%s (
    position bigint NOT NULL,
    partition int NOT NULL,
    time_ms bigint NOT NULL,
    ordinal bigint NOT NULL,
    total bigint NOT NULL,
    bytes bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    text text NOT NULL,
    PRIMARY KEY (position)
  ) PARTITION BY RANGE (position)', new_id);
  EXECUTE format('CREATE INDEX ON $S.events_%s (partition, position)', new_id);
  -- An id may be longer than an entry of an index.
  EXECUTE format('CREATE INDEX ON $S.events_%s (hashtextextended(id, 0))', new_id);
  IF in_latest THEN EXECUTE format('CREATE INDEX ON $S.events_%s (key, position) WHERE key IS NOT NULL', new_id); END IF;
  PERFORM $S.add_segment(new_id, 0);
END $f$;
`

/** Answers whether the channel was still as it was read. */
export const UPDATE_CHANNEL: string = `
CREATE FUNCTION $S.update_channel(in_name text, in_before text, in_entry text, in_dedupe_ms bigint, in_dedupe_count bigint,
  in_latest boolean, in_keep_ms bigint, in_keep_count bigint, in_keep_bytes bigint) RETURNS boolean LANGUAGE plpgsql AS $f$
DECLARE
  c record;
BEGIN
  PERFORM $S.sync();
  SELECT * INTO c FROM $S.channels WHERE name = in_name FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = '${NO_CHANNEL}', MESSAGE = 'no channel ' || in_name; END IF;
  IF c.entry <> in_before THEN RETURN false; END IF;
  IF in_latest AND NOT c.latest THEN
    EXECUTE format('CREATE INDEX ON $S.events_%s (key, position) WHERE key IS NOT NULL', c.id);
  END IF;
  UPDATE $S.channels SET entry = in_entry, dedupe_ms = in_dedupe_ms, dedupe_count = in_dedupe_count, latest = in_latest,
    keep_ms = in_keep_ms, keep_count = in_keep_count, keep_bytes = in_keep_bytes WHERE id = c.id;
  RETURN true;
END $f$;
`

/** The channel is gone at once. Its tables are dropped by `sweep`, when nobody reads them. */
export const REMOVE_CHANNEL: string = `
CREATE FUNCTION $S.remove_channel(in_name text) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
  gone int;
BEGIN
  PERFORM $S.sync();
  DELETE FROM $S.channels WHERE name = in_name RETURNING id INTO gone;
  IF gone IS NULL THEN RETURN; END IF;
  DELETE FROM $S.floors WHERE channel = gone;
  DELETE FROM $S.superseded WHERE channel = gone;
  INSERT INTO $S.dropped VALUES ('events_' || gone);
END $f$;
`
