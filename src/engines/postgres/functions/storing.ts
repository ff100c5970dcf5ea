/**
 * The functions of the server that store events. `$S` stands for the schema.
 */
import { LIMITS } from '../../../base/limits.ts'
import { NO_CHANNEL, NOT_PUBLISHED, SEGMENT_POSITIONS } from './constants.ts'

/**
 * Stores events. For each event there is a number in each array: its partition, where its bytes begin in `in_bytes`
 * (from 1), how many of them are its id, type, key (-1: none) and text, in this order, and whether it is stored once.
 * `in_wait_ms`: how long it may wait for others who publish to the channel (0: as the session says).
 *
 * Answers the time, the position of the first new event, the partitions with where each ended before, and, unless all
 * events were new, the position of each one (−1 − position for a duplicate).
 */
export const APPEND: string = `
CREATE FUNCTION $S.append(in_name text, in_partitions int[], in_starts int[], in_ids int[], in_types int[], in_keys int[],
  in_texts int[], in_once boolean[], in_bytes bytea, in_wait_ms int,
  OUT now_ms bigint, OUT first bigint, OUT touched int[], OUT befores bigint[], OUT answers bigint[]) LANGUAGE plpgsql AS $f$
DECLARE
  c record;
  last record;
  ids text[];
  hashes bigint[];
  known_ids text[];
  known_positions bigint[];
  fresh boolean[];
  ordinals bigint[];
  next bigint;
  events bigint;
  event_bytes bigint;
BEGIN
  PERFORM $S.sync();
  IF in_wait_ms > 0 THEN PERFORM set_config('lock_timeout', in_wait_ms::text, true); END IF;
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
    hashes := $S.hashes_of(ids);
    EXECUTE format('SELECT array_agg(id), array_agg(position) FROM (
      SELECT id, max(position) AS position FROM $S.events_%s
      WHERE hashtextextended(id, 0) = ANY ($5) AND id = ANY ($1) AND position >= coalesce((SELECT position FROM $S.floors WHERE channel = $2 AND partition = -2), 0)
        AND total >= $3 AND time_ms >= $4 GROUP BY id) found', c.id)
      INTO known_ids, known_positions USING ids, c.id, events - c.dedupe_count, now_ms - c.dedupe_ms, hashes;
    IF c.latest THEN
      SELECT known_ids || coalesce(array_agg(s.id), '{}'), known_positions || coalesce(array_agg(s.position), '{}')
        INTO known_ids, known_positions FROM $S.superseded s
        WHERE s.channel = c.id AND hashtextextended(s.id, 0) = ANY (hashes) AND s.id = ANY (ids) AND s.total >= events - c.dedupe_count AND s.time_ms >= now_ms - c.dedupe_ms;
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

/**
 * Publishing by plain SQL, in a transaction with other work. The trigger is deferred, so it runs in the commit:
 * positions are in the order of commits, and others who publish to the channel wait for the commit only, not for the
 * transaction. The partition of a key is that of every Millrace: murmur2. Both functions run with the rights of the
 * schema's owner, so whoever may use the schema may publish to the channels of applications, and can change nothing
 * else there.
 */
export const PUBLISH: string = `
CREATE FUNCTION $S.partition_of(in_key text, in_partitions int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$
DECLARE
  b bytea := convert_to(in_key, 'UTF8');
  n int := length(b);
  h bigint := 2538058380 # n;
  k bigint;
  m constant bigint := 1540483477;
  low constant bigint := 4294967295;
  i int := 0;
BEGIN
  WHILE n - i >= 4 LOOP
    k := get_byte(b, i) + (get_byte(b, i + 1)::bigint << 8) + (get_byte(b, i + 2)::bigint << 16) + (get_byte(b, i + 3)::bigint << 24);
    k := k * m & low;
    k := k # (k >> 24);
    h := (h * m & low) # (k * m & low);
    i := i + 4;
  END LOOP;
  IF n - i >= 3 THEN h := h # (get_byte(b, i + 2)::bigint << 16); END IF;
  IF n - i >= 2 THEN h := h # (get_byte(b, i + 1)::bigint << 8); END IF;
  IF n - i >= 1 THEN h := (h # get_byte(b, i)::bigint) * m & low; END IF;
  h := (h # (h >> 13)) * m & low;
  RETURN ((h # (h >> 15)) & 2147483647) % in_partitions;
END $f$;

CREATE FUNCTION $S.take_in() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
  c record;
BEGIN
  c := $S.channel_of(NEW.channel);
  PERFORM $S.append(NEW.channel, ARRAY[$S.partition_of(coalesce(NEW.key, NEW.id), c.partitions)], ARRAY[1],
    ARRAY[octet_length(NEW.id)], ARRAY[octet_length(NEW.type)], ARRAY[coalesce(octet_length(NEW.key), -1)],
    ARRAY[octet_length(NEW.event)], ARRAY[c.entry::json -> 'spec' ->> 'dedupe' IS NOT NULL],
    convert_to(NEW.id || NEW.type || coalesce(NEW.key, '') || NEW.event, 'UTF8'), 0);
  RETURN NULL;
END $f$;
REVOKE EXECUTE ON FUNCTION $S.take_in() FROM PUBLIC;
CREATE CONSTRAINT TRIGGER take_in AFTER INSERT ON $S.incoming DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION $S.take_in();

CREATE FUNCTION $S.publish(in_channel text, in_event text, in_key text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
  e json := in_event::json;
  c $S.channels;
  key_in text := nullif(coalesce(in_key, e ->> 'partitionkey'), '');
BEGIN
  IF in_channel !~ '^[A-Za-z0-9_]' THEN
    RAISE EXCEPTION USING ERRCODE = '${NOT_PUBLISHED}', MESSAGE = 'channel ' || in_channel || ' is of Millrace itself';
  END IF;
  c := $S.channel_of(in_channel);
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING ERRCODE = '${NOT_PUBLISHED}',
      MESSAGE = 'publish() needs a transaction in read committed: positions are given in the order of commits';
  END IF;
  IF json_typeof(e) <> 'object' OR e ->> 'specversion' IS DISTINCT FROM '1.0' OR coalesce(e ->> 'id', '') = ''
    OR coalesce(e ->> 'type', '') = '' OR coalesce(e ->> 'source', '') = '' THEN
    RAISE EXCEPTION USING ERRCODE = '${NOT_PUBLISHED}',
      MESSAGE = 'this is no CloudEvent: it needs specversion 1.0, id, source and type', DETAIL = left(in_event, 200);
  END IF;
  IF octet_length(in_event) > (c.entry::json -> 'spec' ->> 'eventBytesMax')::bigint
    OR length(e ->> 'id') > ${LIMITS.attributeCharsMax} OR length(e ->> 'type') > ${LIMITS.attributeCharsMax}
    OR octet_length(key_in) > ${LIMITS.keyBytesMax} THEN
    RAISE EXCEPTION USING ERRCODE = '${NOT_PUBLISHED}',
      MESSAGE = 'the event, its id, its type or its key is larger than channel ' || in_channel || ' takes';
  END IF;
  INSERT INTO $S.incoming VALUES (in_channel, key_in, e ->> 'id', e ->> 'type', in_event);
END $f$;
`
