/**
 * The functions of the server that read events, and find positions. `$S` stands for the schema.
 */
import { SEGMENT_POSITIONS } from './constants.ts'

/** Those of the ids that are in the channel's window. */
export const KNOWN: string = `
CREATE FUNCTION $S.known(in_name text, in_ids text[]) RETURNS TABLE (known_id text, known_position bigint) LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
  events bigint;
BEGIN
  c := $S.channel_of(in_name);
  EXECUTE format('SELECT total + 1 FROM $S.events_%s ORDER BY position DESC LIMIT 1', c.id) INTO events;
  RETURN QUERY EXECUTE format('SELECT id, max(position) FROM (
      SELECT id, position, time_ms, total FROM $S.events_%s
      UNION ALL SELECT id, position, time_ms, total FROM $S.superseded WHERE channel = $4
    ) e WHERE hashtextextended(id, 0) = ANY ($5) AND id = ANY ($1) AND total >= $2 AND time_ms >= $3 GROUP BY id', c.id)
    USING in_ids, coalesce(events, 0) - c.dedupe_count, $S.now_ms() - c.dedupe_ms, c.id, $S.hashes_of(in_ids);
END $f$;
`

/** Where channels and partitions begin and end. */
export const BOUNDS: string = `
CREATE FUNCTION $S.channel_end(in_id int, in_segment bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $f$
DECLARE
  found bigint;
BEGIN
  EXECUTE format('SELECT position + 1 FROM $S.events_%s ORDER BY position DESC LIMIT 1', in_id) INTO found;
  RETURN greatest(found, in_segment * ${SEGMENT_POSITIONS});
END $f$;

CREATE FUNCTION $S.bounds(in_name text, OUT first bigint, OUT next bigint) LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
BEGIN
  c := $S.channel_of(in_name);
  next := $S.channel_end(c.id, c.segment);
  EXECUTE format('SELECT min(h.position) FROM generate_series(0, $1) p
    CROSS JOIN LATERAL (SELECT coalesce(max(position), 0) AS position FROM $S.floors WHERE channel = $2 AND partition IN (-1, p)) f
    CROSS JOIN LATERAL (SELECT position FROM $S.events_%s e WHERE e.partition = p AND e.position >= f.position
      ORDER BY e.position LIMIT 1) h', c.id) INTO first USING c.partitions - 1, c.id;
  first := coalesce(first, next);
END $f$;

CREATE FUNCTION $S.partition_bounds(in_name text, in_partitions int[]) RETURNS TABLE (at int, first bigint, next bigint)
LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
BEGIN
  c := $S.channel_of(in_name);
  RETURN QUERY EXECUTE format('SELECT p, coalesce(h.position, n.position), n.position FROM unnest($1) p
    CROSS JOIN LATERAL (SELECT coalesce(max(position), 0) AS position FROM $S.floors WHERE channel = $2 AND partition IN (-1, p)) f
    LEFT JOIN LATERAL (SELECT e.position FROM $S.events_%1$s e WHERE e.partition = p AND e.position >= f.position
      ORDER BY e.position LIMIT 1) h ON true
    LEFT JOIN LATERAL (SELECT e.position + 1 AS position FROM $S.events_%1$s e WHERE e.partition = p
      ORDER BY e.position DESC LIMIT 1) l ON true
    CROSS JOIN LATERAL (SELECT greatest(l.position, f.position) AS position) n', c.id) USING in_partitions, c.id;
END $f$;

CREATE FUNCTION $S.marks(in_names text[]) RETURNS TABLE (channel_name text, mark text) LANGUAGE sql STABLE AS $f$
  SELECT c.name, concat_ws(' ', c.id, $S.channel_end(c.id, c.segment),
    (SELECT sum(f.position) FROM $S.floors f WHERE f.channel = c.id AND f.partition > -2))
  FROM $S.channels c WHERE c.name = ANY (in_names)
$f$;
`

/**
 * Events of a partition, or (null) of all, up to a number of events and of bytes. The last one may exceed the bytes.
 */
export const READ: string = `
CREATE FUNCTION $S.read(in_name text, in_partition int, in_from bigint, in_count int, in_bytes bigint)
  RETURNS TABLE (at bigint, stored_ms bigint, event_id text, event_type text, event_key text, event_text text) LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
  lower bigint;
BEGIN
  c := $S.channel_of(in_name);
  SELECT greatest(in_from, max(position)) INTO lower FROM $S.floors WHERE channel = c.id AND (partition = -1 OR partition = in_partition);
  RETURN QUERY EXECUTE format('SELECT position, time_ms, id, type, key, text FROM (
      SELECT e.*, sum(octet_length(text)) OVER (ORDER BY position) - octet_length(text) AS before FROM $S.events_%s e
      WHERE position >= $1 %s ORDER BY position LIMIT $3
    ) e WHERE before < $4 ORDER BY position', c.id,
    CASE WHEN in_partition IS NOT NULL THEN 'AND partition = $2'
    ELSE 'AND position >= coalesce((SELECT f.position FROM $S.floors f WHERE f.channel = $5 AND f.partition = e.partition), 0)' END)
    USING lower, in_partition, in_count, in_bytes, c.id;
END $f$;

CREATE FUNCTION $S.events(in_channel text)
  RETURNS TABLE ("position" bigint, "partition" int, stored timestamptz, key text, event jsonb) LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
BEGIN
  c := $S.channel_of(in_channel);
  RETURN QUERY EXECUTE format('SELECT e.position, e.partition, to_timestamp(e.time_ms / 1000.0), e.key, e.text::jsonb FROM $S.events_%s e
    WHERE e.position >= coalesce((SELECT max(f.position) FROM $S.floors f WHERE f.channel = $1 AND f.partition IN (-1, e.partition)), 0)
    ORDER BY e.position', c.id) USING c.id;
END $f$;
`

/** The first position at which a column that grows with the positions has at least a value. */
export const FIND: string = `
CREATE FUNCTION $S.find(in_id int, in_partition int, in_column text, in_value bigint, in_first bigint, in_next bigint)
  RETURNS bigint LANGUAGE plpgsql STABLE AS $f$
DECLARE
  low bigint := in_first;
  high bigint := in_next;
  middle bigint;
  probe record;
BEGIN
  WHILE low < high LOOP
    middle := (low + high) / 2;
    EXECUTE format('SELECT position, %I AS value FROM $S.events_%s WHERE position >= $1 AND position < $2 %s ORDER BY position LIMIT 1',
      in_column, in_id, CASE WHEN in_partition IS NULL THEN '' ELSE 'AND partition = $3' END)
      INTO probe USING middle, high, in_partition;
    IF probe.position IS NULL OR probe.value >= in_value THEN high := middle;
    ELSE low := probe.position + 1;
    END IF;
  END LOOP;
  EXECUTE format('SELECT position FROM $S.events_%s WHERE position >= $1 AND position < $2 %s ORDER BY position LIMIT 1',
    in_id, CASE WHEN in_partition IS NULL THEN '' ELSE 'AND partition = $3' END) INTO middle USING low, in_next, in_partition;
  RETURN coalesce(middle, in_next);
END $f$;

CREATE FUNCTION $S.seek(in_name text, in_partition int, in_time_ms bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $f$
DECLARE
  b record;
BEGIN
  IF in_partition IS NULL THEN SELECT * INTO b FROM $S.bounds(in_name);
  ELSE SELECT * INTO b FROM $S.partition_bounds(in_name, ARRAY[in_partition]);
  END IF;
  RETURN $S.find((SELECT id FROM $S.channels WHERE name = in_name), in_partition, 'time_ms', in_time_ms, b.first, b.next);
END $f$;

CREATE FUNCTION $S.pending_from(in_name text, in_partition int, in_position bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
  lower bigint;
  answer bigint;
BEGIN
  c := $S.channel_of(in_name);
  SELECT greatest(in_position, max(position)) INTO lower FROM $S.floors WHERE channel = c.id AND partition IN (-1, in_partition);
  EXECUTE format(CASE WHEN c.latest THEN 'SELECT count(*) FROM $S.events_%s WHERE partition = $1 AND position >= $2'
    ELSE 'SELECT (SELECT ordinal + 1 FROM $S.events_%1$s WHERE partition = $1 ORDER BY position DESC LIMIT 1)
      - (SELECT ordinal FROM $S.events_%1$s WHERE partition = $1 AND position >= $2 ORDER BY position LIMIT 1)' END, c.id)
    INTO answer USING in_partition, lower;
  RETURN coalesce(answer, 0);
END $f$;
`

/** The size of the events that are kept, and raising the floor of a partition. */
export const SIZES: string = `
CREATE FUNCTION $S.channel_bytes(in_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
  answer bigint;
BEGIN
  SELECT * INTO c FROM $S.channels c0 WHERE c0.name = in_name;
  IF NOT FOUND THEN RETURN 0; END IF;
  EXECUTE format('SELECT (SELECT bytes + octet_length(text) FROM $S.events_%1$s ORDER BY position DESC LIMIT 1)
    - (SELECT bytes FROM $S.events_%1$s WHERE position >= $1 ORDER BY position LIMIT 1)', c.id)
    INTO answer USING (SELECT b.first FROM $S.bounds(in_name) b);
  RETURN coalesce(answer, 0);
END $f$;

CREATE FUNCTION $S.raise_floor(in_id int, in_partition int, in_position bigint) RETURNS void LANGUAGE sql AS $f$
  INSERT INTO $S.floors AS f (channel, partition, position) VALUES (in_id, in_partition, in_position)
  ON CONFLICT (channel, partition) DO UPDATE SET position = excluded.position WHERE f.position < excluded.position;
$f$;

CREATE FUNCTION $S.trim(in_name text, in_partition int, in_before bigint) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
  found int;
BEGIN
  SELECT id INTO found FROM $S.channels WHERE name = in_name;
  IF found IS NOT NULL THEN PERFORM $S.raise_floor(found, in_partition, in_before); END IF;
END $f$;
`
