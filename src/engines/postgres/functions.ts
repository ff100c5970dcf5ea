/**
 * The functions that run in the server, so that a call is one transaction. `$S` stands for the schema.
 *
 * The lock on the channel's row is the sequencer: an append holds it until it is committed, so positions are in the
 * order of commits, and everything below the end of a channel is there. The statements of a function see what was
 * committed before the lock was given, because each has a snapshot of its own (isolation level read committed).
 */

/** The SQLSTATE of "there is no such channel". */
export const NO_CHANNEL = 'MR001'

/** How many positions a partition of an events table holds. */
export const SEGMENT_POSITIONS = 1_000_000

/** A table of events that has deleted ones is not added to any more when it is larger than this, or older. */
const SEGMENT_BYTES = 64 * 1024 * 1024
const SEGMENT_MS = 3_600_000

/** Makes a table for a stretch of positions, and lets new events go there. Needs only weak locks on the channel. */
const SEGMENT = `
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

const CREATE_CHANNEL = `
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
  EXECUTE format('CREATE INDEX ON $S.events_%s (id)', new_id);
  IF in_latest THEN EXECUTE format('CREATE INDEX ON $S.events_%s (key, position) WHERE key IS NOT NULL', new_id); END IF;
  PERFORM $S.add_segment(new_id, 0);
END $f$;
`

/** Answers whether the channel was still as it was read. */
const UPDATE_CHANNEL = `
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

/** The channel is gone at once. Its tables are dropped by \`sweep\`, when nobody reads them. */
const REMOVE_CHANNEL = `
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

/** What is committed is on disk, also where the server does not sync by default. */
const SYNC = `
CREATE FUNCTION $S.now_ms() RETURNS bigint LANGUAGE sql AS $f$
  SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
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

/**
 * Stores events. For each event there is a number in each array: its partition, where its bytes begin in \`in_bytes\`
 * (from 1), how many of them are its id, type, key (-1: none) and text, in this order, and whether it is stored once.
 *
 * Answers the time, the position of the first new event, the partitions with where each ended before, and, unless all
 * events were new, the position of each one (−1 − position for a duplicate).
 */
const APPEND = `
CREATE FUNCTION $S.append(in_name text, in_partitions int[], in_starts int[], in_ids int[], in_types int[], in_keys int[],
  in_texts int[], in_once boolean[], in_bytes bytea,
  OUT now_ms bigint, OUT first bigint, OUT touched int[], OUT befores bigint[], OUT answers bigint[]) LANGUAGE plpgsql AS $f$
DECLARE
  c record;
  last record;
  ids text[];
  known_ids text[];
  known_positions bigint[];
  fresh boolean[];
  ordinals bigint[];
  next bigint;
  events bigint;
  event_bytes bigint;
BEGIN
  PERFORM $S.sync();
  SELECT c0.id, c0.segment, c0.dedupe_ms, c0.dedupe_count, c0.latest INTO c FROM $S.channels c0 WHERE c0.name = in_name FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = '${NO_CHANNEL}', MESSAGE = 'no channel ' || in_name; END IF;
  EXECUTE format('SELECT position + 1 AS next, time_ms, total + 1 AS total, bytes + octet_length(text) AS bytes
    FROM $S.events_%s ORDER BY position DESC LIMIT 1', c.id) INTO last;
  next := greatest(last.next, c.segment * ${SEGMENT_POSITIONS});
  now_ms := greatest(last.time_ms, $S.now_ms());
  events := coalesce(last.total, 0);
  event_bytes := coalesce(last.bytes, 0);

  SELECT array_agg(convert_from(substring(in_bytes FROM s FOR l), 'UTF8') ORDER BY n) INTO ids
    FROM unnest(in_starts, in_ids) WITH ORDINALITY AS u(s, l, n);
  IF true = ANY (in_once) THEN
    EXECUTE format('SELECT array_agg(id), array_agg(position) FROM (
      SELECT id, max(position) AS position FROM $S.events_%s
      WHERE id = ANY ($1) AND position >= coalesce((SELECT position FROM $S.floors WHERE channel = $2 AND partition = -2), 0)
        AND total >= $3 AND time_ms >= $4 GROUP BY id) found', c.id)
      INTO known_ids, known_positions USING ids, c.id, events - c.dedupe_count, now_ms - c.dedupe_ms;
    IF c.latest THEN
      SELECT known_ids || coalesce(array_agg(s.id), '{}'), known_positions || coalesce(array_agg(s.position), '{}')
        INTO known_ids, known_positions FROM $S.superseded s
        WHERE s.channel = c.id AND s.id = ANY (ids) AND s.total >= events - c.dedupe_count AND s.time_ms >= now_ms - c.dedupe_ms;
      IF known_ids = '{}' THEN known_ids := NULL; END IF;
    END IF;
    IF known_ids IS NOT NULL OR (SELECT count(DISTINCT i) < count(*) FROM unnest(ids) i) THEN
      SELECT array_agg(f.fresh ORDER BY n),
        array_agg(CASE WHEN f.fresh THEN f.position ELSE -1 - coalesce(f.known, f.same) END ORDER BY n)
      INTO fresh, answers FROM (
        SELECT r.n, r.fresh, r.known, r.position, first_value(r.position) OVER (PARTITION BY r.id ORDER BY r.n) AS same FROM (
          SELECT q.*, next - 1 + count(*) FILTER (WHERE q.fresh) OVER (ORDER BY q.n) AS position FROM (
            SELECT u.id, u.n, k.position AS known,
              NOT u.once OR (k.position IS NULL AND row_number() OVER (PARTITION BY u.id ORDER BY u.n) = 1) AS fresh
            FROM unnest(ids, in_once) WITH ORDINALITY AS u(id, once, n)
            LEFT JOIN (SELECT i AS id, max(p) AS position FROM unnest(known_ids, known_positions) AS known(i, p) GROUP BY i) k
              ON k.id = u.id
          ) q
        ) r
      ) f;
    END IF;
  END IF;
  first := next;

  IF next / ${SEGMENT_POSITIONS} > c.segment OR (next + array_length(ids, 1) - 1) / ${SEGMENT_POSITIONS} > c.segment THEN
    PERFORM $S.add_segment(c.id, c.segment + 1);
  END IF;
  EXECUTE format('SELECT array_agg(p ORDER BY p), array_agg(coalesce(h.position + 1, f.position, 0) ORDER BY p),
      array_agg(coalesce(h.ordinal + 1, 0) ORDER BY p)
    FROM (SELECT DISTINCT p FROM unnest($1) p) wanted
    LEFT JOIN LATERAL (SELECT position, ordinal FROM $S.events_%s WHERE partition = p ORDER BY position DESC LIMIT 1) h ON true
    LEFT JOIN LATERAL (SELECT max(position) AS position FROM $S.floors WHERE channel = $2 AND partition IN (-1, p)) f ON true', c.id)
    INTO touched, befores, ordinals USING in_partitions, c.id;
  EXECUTE format('INSERT INTO $S.events_%s (position, partition, time_ms, ordinal, total, bytes, id, type, key, text)
    SELECT $1 + n - 1, p, $2, $10[array_position($11, p)] + row_number() OVER (PARTITION BY p ORDER BY n) - 1, $3 + n - 1,
      $4 + sum(textb) OVER (ORDER BY n) - textb,
      convert_from(substring($9 FROM s FOR idb), ''UTF8''),
      convert_from(substring($9 FROM s + idb FOR typeb), ''UTF8''),
      CASE WHEN keyb >= 0 THEN convert_from(substring($9 FROM s + idb + typeb FOR keyb), ''UTF8'') END,
      convert_from(substring($9 FROM s + idb + typeb + greatest(keyb, 0) FOR textb), ''UTF8'')
    FROM (
      SELECT row_number() OVER (ORDER BY ord) AS n, u.* FROM unnest($5, $6, $7, $8, $12, $13, $14)
        WITH ORDINALITY AS u(p, s, idb, typeb, keyb, textb, fresh, ord) WHERE fresh IS NOT FALSE
    ) item ORDER BY n', c.id)
    USING next, now_ms, events, event_bytes, in_partitions, in_starts, in_ids, in_types, in_bytes, ordinals, touched,
      in_keys, in_texts, fresh;

  IF c.latest THEN
    EXECUTE format('WITH gone AS (
        DELETE FROM $S.events_%s e USING (
          SELECT key, max(position) AS position FROM $S.events_%s WHERE position >= $1 AND key IS NOT NULL GROUP BY key
        ) n WHERE e.key = n.key AND e.position < n.position RETURNING e.id, e.position, e.time_ms, e.total
      ) INSERT INTO $S.superseded SELECT $2, id, position, time_ms, total FROM gone', c.id, c.id) USING next, c.id;
  END IF;
END $f$;
`

/** Those of the ids that are in the channel's window. */
const KNOWN = `
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
    ) e WHERE id = ANY ($1) AND total >= $2 AND time_ms >= $3 GROUP BY id', c.id)
    USING in_ids, coalesce(events, 0) - c.dedupe_count, $S.now_ms() - c.dedupe_ms, c.id;
END $f$;
`

/** Where a channel ends, and where a partition or (null) the channel begins and ends. */
const BOUNDS = `
CREATE FUNCTION $S.channel_end(in_id int, in_segment bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $f$
DECLARE
  found bigint;
BEGIN
  EXECUTE format('SELECT position + 1 FROM $S.events_%s ORDER BY position DESC LIMIT 1', in_id) INTO found;
  RETURN greatest(found, in_segment * ${SEGMENT_POSITIONS});
END $f$;

CREATE FUNCTION $S.bounds(in_name text, in_partition int, OUT first bigint, OUT next bigint) LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
  lower bigint;
BEGIN
  c := $S.channel_of(in_name);
  IF in_partition IS NULL THEN
    next := $S.channel_end(c.id, c.segment);
    EXECUTE format('SELECT min(h.position) FROM generate_series(0, $1) p
      CROSS JOIN LATERAL (SELECT coalesce(max(position), 0) AS position FROM $S.floors WHERE channel = $2 AND partition IN (-1, p)) f
      CROSS JOIN LATERAL (SELECT position FROM $S.events_%s e WHERE e.partition = p AND e.position >= f.position
        ORDER BY e.position LIMIT 1) h', c.id) INTO first USING c.partitions - 1, c.id;
  ELSE
    SELECT coalesce(max(position), 0) INTO lower FROM $S.floors WHERE channel = c.id AND partition IN (-1, in_partition);
    EXECUTE format('SELECT position + 1 FROM $S.events_%s WHERE partition = $1 ORDER BY position DESC LIMIT 1', c.id)
      INTO next USING in_partition;
    next := greatest(next, lower);
    EXECUTE format('SELECT position FROM $S.events_%s WHERE partition = $1 AND position >= $2 ORDER BY position LIMIT 1', c.id)
      INTO first USING in_partition, lower;
  END IF;
  first := coalesce(first, next);
END $f$;
`

/**
 * Events of a partition, or (null) of all, up to a number of events and of bytes. The last one may exceed the bytes.
 */
const READ = `
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

CREATE FUNCTION $S.ends(in_names text[]) RETURNS TABLE (channel_name text, channel_next bigint) LANGUAGE sql STABLE AS $f$
  SELECT name, $S.channel_end(id, segment) FROM $S.channels WHERE name = ANY (in_names)
$f$;

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
const FIND = `
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
  SELECT * INTO b FROM $S.bounds(in_name, in_partition);
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
const SIZES = `
CREATE FUNCTION $S.channel_bytes(in_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $f$
DECLARE
  c record;
  answer bigint;
BEGIN
  SELECT * INTO c FROM $S.channels c0 WHERE c0.name = in_name;
  IF NOT FOUND THEN RETURN 0; END IF;
  EXECUTE format('SELECT (SELECT bytes + octet_length(text) FROM $S.events_%1$s ORDER BY position DESC LIMIT 1)
    - (SELECT bytes FROM $S.events_%1$s WHERE position >= $1 ORDER BY position LIMIT 1)', c.id)
    INTO answer USING (SELECT b.first FROM $S.bounds(in_name, NULL) b);
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

/**
 * Retention of one channel: raises its floor, notes where its window of ids begins, and begins a new table when the
 * current one is old or large and has events that are deleted. Answers the tables that can be dropped, because their
 * events are deleted and their ids are not needed any more. One process at a time does it.
 */
const RETAIN = `
CREATE FUNCTION $S.retain(in_name text) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
  c record;
  b record;
  last record;
  oldest record;
  part record;
  kept bigint := 0;
  needed bigint;
BEGIN
  SELECT * INTO c FROM $S.channels WHERE name = in_name;
  IF NOT FOUND OR NOT pg_try_advisory_xact_lock(hashtextextended('$S.retain', c.id)) THEN RETURN; END IF;
  EXECUTE format('SELECT position, total + 1 AS total, bytes + octet_length(text) AS bytes FROM $S.events_%s
    ORDER BY position DESC LIMIT 1', c.id) INTO last;
  IF last.position IS NULL THEN RETURN; END IF;
  SELECT * INTO b FROM $S.bounds(in_name, NULL);
  IF c.keep_ms IS NOT NULL THEN kept := greatest(kept, $S.find(c.id, NULL, 'time_ms', $S.now_ms() - c.keep_ms, b.first, b.next)); END IF;
  IF c.keep_count IS NOT NULL THEN kept := greatest(kept, $S.find(c.id, NULL, 'total', last.total - c.keep_count, b.first, b.next)); END IF;
  IF c.keep_bytes IS NOT NULL THEN kept := greatest(kept, $S.find(c.id, NULL, 'bytes', last.bytes - c.keep_bytes, b.first, b.next)); END IF;
  IF kept > b.first THEN
    PERFORM $S.raise_floor(c.id, -1, kept);
    b.first := kept;
  END IF;
  DELETE FROM $S.superseded s WHERE s.channel = c.id AND s.time_ms < $S.now_ms() - c.dedupe_ms;
  needed := greatest($S.find(c.id, NULL, 'total', last.total - c.dedupe_count, 0, b.next),
    $S.find(c.id, NULL, 'time_ms', $S.now_ms() - c.dedupe_ms, 0, b.next));
  PERFORM $S.raise_floor(c.id, -2, needed);

  needed := least(b.first, needed);
  EXECUTE format('SELECT time_ms, bytes, position FROM $S.events_%s WHERE position >= $1 ORDER BY position LIMIT 1', c.id)
    INTO oldest USING c.segment * ${SEGMENT_POSITIONS};
  BEGIN
    PERFORM set_config('lock_timeout', '100ms', true);
    IF oldest.position < needed AND (last.bytes - oldest.bytes > ${SEGMENT_BYTES} OR last.position - oldest.position > ${SEGMENT_POSITIONS / 10}
      OR $S.now_ms() - oldest.time_ms > greatest(c.keep_ms / 4, ${SEGMENT_MS})) THEN
      PERFORM 1 FROM $S.channels WHERE id = c.id AND segment = c.segment FOR NO KEY UPDATE;
      IF FOUND THEN PERFORM $S.add_segment(c.id, c.segment + 1); END IF;
      RETURN;
    END IF;
    FOR part IN
      SELECT k.relname AS name, substring(k.relname FROM '_([0-9]+)$')::bigint AS segment
      FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid WHERE i.inhparent = format('$S.events_%s', c.id)::regclass
    LOOP
      CONTINUE WHEN part.segment >= c.segment OR (part.segment + 1) * ${SEGMENT_POSITIONS} > needed;
      PERFORM $S.raise_floor(c.id, -1, (part.segment + 1) * ${SEGMENT_POSITIONS});
      EXECUTE format('DROP TABLE $S.%I', part.name);
    END LOOP;
  EXCEPTION WHEN lock_not_available OR undefined_table THEN
    -- Somebody uses the table, or the channel is being removed: the next call tries again.
    NULL;
  END;
END $f$;

CREATE FUNCTION $S.sweep() RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
  gone text;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended('$S.sweep', 0)) THEN RETURN; END IF;
  PERFORM set_config('lock_timeout', '100ms', true);
  FOR gone IN SELECT name FROM $S.dropped LIMIT 20 LOOP
    BEGIN
      EXECUTE format('DROP TABLE IF EXISTS $S.%I', gone);
      DELETE FROM $S.dropped WHERE name = gone;
    EXCEPTION WHEN lock_not_available THEN
      NULL;
    END;
  END LOOP;
END $f$;
`

/**
 * Consumer logs. An entry is added only behind the entry that its writer knows as the last one. Versions begin at the
 * current time, above those of an earlier consumer log of this name.
 */
const CONSUMER_LOGS = `
CREATE FUNCTION $S.begin_consumer_log(in_name text, in_entry bytea) RETURNS bigint LANGUAGE plpgsql AS $f$
DECLARE
  new_id int;
  version bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
BEGIN
  PERFORM $S.sync();
  INSERT INTO $S.consumer_logs (name) VALUES (in_name) ON CONFLICT DO NOTHING RETURNING id INTO new_id;
  IF new_id IS NULL THEN RETURN 0; END IF;
  INSERT INTO $S.consumer_log_entries VALUES (new_id, version, in_entry);
  RETURN version;
END $f$;

CREATE FUNCTION $S.append_consumer_logs(in_names text[], in_expected bigint[], in_ends int[], in_bytes bytea)
  RETURNS SETOF int LANGUAGE plpgsql AS $f$
BEGIN
  PERFORM $S.sync();
  RETURN QUERY WITH wanted AS (
    SELECT u.n::int AS n, l.id, u.expected, u.began, u.ended FROM (
      SELECT n, name, expected, ended, lag(ended, 1, 0) OVER (ORDER BY n) AS began
      FROM unnest(in_names, in_expected, in_ends) WITH ORDINALITY AS w(name, expected, ended, n)
    ) u JOIN $S.consumer_logs l ON l.name = u.name
    JOIN $S.consumer_log_entries e ON e.log = l.id AND e.version = u.expected
  ), added AS (
    INSERT INTO $S.consumer_log_entries
    SELECT id, expected + 1, substring(in_bytes FROM began + 1 FOR ended - began) FROM wanted ORDER BY id
    ON CONFLICT DO NOTHING RETURNING log
  ) SELECT wanted.n FROM wanted JOIN added ON added.log = wanted.id;
END $f$;

CREATE FUNCTION $S.remove_consumer_log(in_name text) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
  gone int;
BEGIN
  PERFORM $S.sync();
  DELETE FROM $S.consumer_logs WHERE name = in_name RETURNING id INTO gone;
  DELETE FROM $S.consumer_log_entries WHERE log = gone;
END $f$;
`

/** Heartbeats and notifications need no sync: what is lost is soon said again. */
const MEMBERS = `
CREATE FUNCTION $S.beat(in_group text, in_member text, in_said text, in_ttl_ms bigint) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  INSERT INTO $S.members VALUES (in_group, in_member, in_said, $S.now_ms() + in_ttl_ms)
  ON CONFLICT (member_group, member) DO UPDATE SET said = excluded.said, until_ms = excluded.until_ms;
  DELETE FROM $S.members WHERE member_group = in_group AND until_ms < $S.now_ms();
END $f$;

CREATE FUNCTION $S.ring(in_text text) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  PERFORM pg_notify('$S', in_text);
END $f$;
`

export const FUNCTIONS: string = [
  SYNC,
  SEGMENT,
  CREATE_CHANNEL,
  UPDATE_CHANNEL,
  REMOVE_CHANNEL,
  APPEND,
  BOUNDS,
  KNOWN,
  READ,
  FIND,
  SIZES,
  RETAIN,
  CONSUMER_LOGS,
  MEMBERS,
].join('')
