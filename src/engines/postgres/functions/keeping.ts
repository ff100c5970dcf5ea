/**
 * The functions of the server that keep consumer logs and members, and delete what retention does not keep. `$S` stands
 * for the schema.
 */
import { SEGMENT_BYTES, SEGMENT_MS, SEGMENT_POSITIONS } from './constants.ts'

/**
 * Retention of one channel: raises its floor, notes where its window of ids begins, and begins a new table when the
 * current one is old or large and has events that are deleted. Answers the tables that can be dropped, because their
 * events are deleted and their ids are not needed any more. One process at a time does it.
 */
export const RETAIN: string = `
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
  SELECT * INTO b FROM $S.bounds(in_name);
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
  -- Nobody has a row there whose transaction is not over, if the lock is given.
  IF pg_relation_size('$S.incoming') > 1024 * 1024 THEN
    BEGIN
      LOCK TABLE $S.incoming IN ACCESS EXCLUSIVE MODE NOWAIT;
      TRUNCATE $S.incoming;
    EXCEPTION WHEN lock_not_available THEN
      NULL;
    END;
  END IF;
END $f$;
`

/**
 * Consumer logs. An entry is added only behind the entry that its writer knows as the last one. Versions begin at the
 * current time, above those of an earlier consumer log of this name.
 */
export const CONSUMER_LOGS: string = `
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
export const MEMBERS: string = `
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
