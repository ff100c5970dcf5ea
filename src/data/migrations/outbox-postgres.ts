/**
 * The outbox's tables in Postgres, version 1. docs/decisions/0026 gives the reasons.
 *
 * - `outbox` has the events, as their transactions put them in. `lane` is a hash of the key: 64 lanes.
 * - A deferred trigger runs when a transaction commits: for each of its lanes it takes a lock, which the commit
 *   releases, and then a position, which it writes to `outbox_commits`. So the positions of one lane are in the order
 *   of the commits, and nobody who sees one can see a lower one appear later.
 * - `outbox_progress` has how far the relay is in each lane: rows are added, the newest counts. `outbox_stripes` has
 *   the leases of the relays. `outbox_held` has the events that could not be published, and those that wait behind
 *   them.
 * - `outbox`, `outbox_commits` and `outbox_progress` have four slots each. When all events of a slot are published, its
 *   tables are truncated together. Nothing depends on vacuum.
 */

import { LIMITS } from '../../base/limits.ts'

/** Hashes of keys; `outbox.lane` is below it. */
export const LANES = 64
const SLOTS = [0, 1, 2, 3]
/** The end of the year 9999, in milliseconds since the epoch. */
const LAST_MS = 253_402_300_799_999
/** The first number of the advisory locks of lanes: "mroo" as ASCII. */
const LOCK_CLASS = 0x6d726f6f

const slotsOf = (table: string, and = ''): string =>
  SLOTS.map(
    (slot) =>
      `create table millrace.${table}_${slot} partition of millrace.${table} for values in (${slot}) with (autovacuum_enabled = false${and});`,
  ).join('\n')

export const OUTBOX_POSTGRES: string = `
create table millrace.outbox_slots (
  one boolean primary key default true check (one),
  current smallint not null default 0,
  since timestamptz not null default now()
);
insert into millrace.outbox_slots default values;

create function millrace.outbox_slot() returns smallint
language sql stable security definer set search_path = pg_catalog, pg_temp
as 'select current from millrace.outbox_slots';

create sequence millrace.outbox_seq;
create table millrace.outbox (
  slot smallint not null default millrace.outbox_slot(),
  tx bigint not null default (pg_current_xact_id()::text::bigint),
  lane smallint not null generated always as ((hashtextextended(coalesce(key, id), 0) & ${LANES - 1})::smallint) stored,
  seq bigint not null default nextval('millrace.outbox_seq'),
  channel text not null check (char_length(channel) between 1 and ${LIMITS.nameCharsMax}),
  id text not null check (char_length(id) between 1 and ${LIMITS.attributeCharsMax}),
  type text not null,
  key text check (octet_length(key) between 1 and ${LIMITS.keyBytesMax}),
  due_ms bigint check (due_ms between 0 and ${LAST_MS}),
  event text not null,
  put_at timestamptz not null default clock_timestamp()
    check (put_at between timestamptz '1970-01-01Z' and timestamptz '9999-01-01Z'),
  primary key (tx, lane, seq, slot)
) partition by list (slot);
${slotsOf('outbox')}

create sequence millrace.outbox_position;
create table millrace.outbox_commits (
  slot smallint not null,
  lane smallint not null,
  pos bigint not null,
  tx bigint not null,
  seq bigint not null,
  primary key (lane, pos, slot)
) partition by list (slot);
${slotsOf('outbox_commits')}

create table millrace.outbox_stripes (
  stripe smallint primary key,
  owner text,
  until timestamptz,
  fence bigint not null default 0
);
insert into millrace.outbox_stripes (stripe) values (0);

create sequence millrace.outbox_progress_n;
create table millrace.outbox_progress (
  slot smallint not null default millrace.outbox_slot(),
  stripe smallint not null,
  n bigint not null default nextval('millrace.outbox_progress_n'),
  cursors text not null,
  primary key (stripe, n, slot)
) partition by list (slot);
${slotsOf('outbox_progress')}

create table millrace.outbox_held (
  n bigint generated always as identity primary key,
  stripe smallint not null,
  state text not null check (state in ('retry', 'behind', 'dead')),
  channel text not null,
  id text not null,
  type text not null,
  key text,
  due_ms bigint,
  event text not null,
  put_at timestamptz not null,
  attempts integer not null default 0,
  next_at timestamptz,
  failed_at timestamptz,
  code text,
  message text
);
create index outbox_held_keys on millrace.outbox_held (channel, key, n);
create index outbox_held_due on millrace.outbox_held (next_at) where state = 'retry';

-- Relays and dead letters read what was committed while they waited for a lock.
create function millrace.outbox_isolation() returns void language plpgsql as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'millrace: the outbox needs the isolation level read committed for its relay and its dead letters, '
      'and this session has %', current_setting('transaction_isolation')
      using errcode = 'invalid_transaction_state';
  end if;
end
$$;

create function millrace.outbox_commit() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  known text := coalesce(current_setting('millrace.outbox_lanes', true), '');
  from_seq bigint := coalesce(nullif(split_part(known, '/', 1), ''), new.seq::text)::bigint;
  lanes text;
begin
  -- The seq of the first event of this transaction, and its lanes that have their positions already, each as
  -- /LANE.SLOT/. Rows with a lower seq and the same tx are of another cluster, from which they were restored.
  if position('/' || new.lane || '.' || new.slot || '/' in known) > 0 then return null; end if;
  -- outbox().publish sets this to the time of its statement. A statement that commits by itself comes here at the same
  -- time, when it has ended: it was not in a transaction of the caller.
  if current_setting('millrace.outbox_put', true) = extract(epoch from statement_timestamp())::text
    and current_query() is null then
    raise exception 'millrace: no transaction is open' using errcode = 'no_active_sql_transaction';
  end if;
  if current_setting('synchronous_commit') = 'off' then perform set_config('synchronous_commit', 'on', true); end if;
  perform pg_advisory_xact_lock(${LOCK_CLASS}, l.lane)
  from (select distinct o.lane from millrace.outbox o where o.tx = new.tx and o.seq >= from_seq order by o.lane) l;
  -- Positions are taken after all locks, and so in the order of the commits.
  with parts as (
    select o.slot, o.lane, min(o.seq) as seq from millrace.outbox o
    where o.tx = new.tx and o.seq >= from_seq group by o.slot, o.lane
  ), added as (
    insert into millrace.outbox_commits (slot, lane, pos, tx, seq)
    select p.slot, p.lane, nextval('millrace.outbox_position'), new.tx, p.seq
    from (select * from parts order by lane, seq) p
    where position('/' || p.lane || '.' || p.slot || '/' in known) = 0
    returning outbox_commits.lane, outbox_commits.slot
  )
  select string_agg('/' || a.lane || '.' || a.slot || '/', '') into lanes from added a;
  perform set_config('millrace.outbox_lanes',
    case when known = '' then from_seq::text else known end || coalesce(lanes, ''), true);
  return null;
end
$$;
create constraint trigger outbox_commit after insert on millrace.outbox
deferrable initially deferred for each row execute function millrace.outbox_commit();
revoke execute on function millrace.outbox_commit() from public;

-- Events after the cursor of each lane, in the order of the commits: up to PER_LANE of a lane, and up to MAX_ROWS and
-- MAX_BYTES together, but one at least. The plan must not depend on statistics: the tables are empty at one moment and
-- have millions of rows at the next.
create function millrace.outbox_fetch(cursors text, per_lane integer, max_rows integer, max_bytes bigint)
returns table (lane smallint, pos bigint, seq bigint, channel text, id text, type text, key text, due_ms bigint,
  event text, put_at timestamptz)
language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  select f.lane, f.pos, f.seq, f.channel, f.id, f.type, f.key, f.due_ms, f.event, f.put_at from (
    select l.lane, r.*, row_number() over w as nth, sum(octet_length(r.event)) over w - octet_length(r.event) as bytes
    from json_to_recordset(cursors::json) as l(lane smallint, pos bigint, seq bigint)
    cross join lateral (
      select c.pos, o.seq, o.channel, o.id, o.type, o.key, o.due_ms, o.event, o.put_at
      from millrace.outbox_commits c
      cross join lateral (
        select e.* from millrace.outbox e
        where e.tx = c.tx and e.lane = c.lane and e.slot = c.slot
          and e.seq >= c.seq and e.seq > case when c.pos = l.pos then l.seq else 0 end
        order by e.seq limit per_lane
      ) o
      where c.lane = l.lane and c.pos >= l.pos
      order by c.pos, o.seq limit per_lane
    ) r
    window w as (order by r.pos, r.seq)
  ) f
  where f.nth <= max_rows and f.bytes < max_bytes
  order by f.pos, f.seq
$$;

-- The lease of a stripe: its fence if the relay has it now, else null.
create function millrace.outbox_lease(of_stripe smallint, relay text, lease_ms bigint) returns bigint language plpgsql as $$
declare
  given bigint;
begin
  perform millrace.outbox_isolation();
  update millrace.outbox_stripes s
  set fence = case when s.owner = relay then s.fence else s.fence + 1 end,
    owner = relay, until = clock_timestamp() + lease_ms * interval '1 millisecond'
  where s.stripe = of_stripe and (s.owner is null or s.owner = relay or s.until < clock_timestamp())
  returning s.fence into given;
  return given;
end
$$;

-- Of these keys, the first held event is due at once if it waits: nothing is before it.
create function millrace.outbox_promote(keys text) returns void language sql as $$
  update millrace.outbox_held h set state = 'retry', next_at = clock_timestamp()
  from (select distinct p.channel, p.key from json_to_recordset(keys::json) as p(channel text, key text)) p
  where h.channel = p.channel and h.key = p.key and h.state = 'behind' and h.n = (
    select min(o.n) from millrace.outbox_held o where o.channel = p.channel and o.key = p.key
  )
$$;

-- Stores how far the relay is, and the events that it could not publish. Answers the number of this progress; null, and
-- nothing is stored, if the relay no longer has its lease, or if the newest progress is not the one that it knows: the
-- database may have been restored, or have lost its last commits.
create function millrace.outbox_advance(of_stripe smallint, relay text, with_fence bigint, known_n bigint,
  new_cursors text, new_held text)
returns bigint language plpgsql as $$
declare
  newest bigint;
begin
  -- Who takes the lease over waits for this lock, and then reads what is stored here.
  perform 1 from millrace.outbox_stripes s
  where s.stripe = of_stripe and s.owner = relay and s.fence = with_fence for share;
  if not found then return null; end if;
  select p.n into newest from millrace.outbox_progress p where p.stripe = of_stripe order by p.n desc limit 1;
  if coalesce(newest, 0) <> known_n then return null; end if;
  insert into millrace.outbox_progress (stripe, cursors) values (of_stripe, new_cursors) returning n into newest;
  insert into millrace.outbox_held
    (stripe, state, channel, id, type, key, due_ms, event, put_at, attempts, next_at, failed_at, code, message)
  select of_stripe, h.state, h.channel, h.id, h.type, h.key, h.due_ms, h.event, h.put_at, h.attempts,
    clock_timestamp() + h.delay_ms * interval '1 millisecond',
    case when h.code is not null then clock_timestamp() end, h.code, h.message
  from json_to_recordset(new_held::json) as h(state text, channel text, id text, type text, key text, due_ms bigint,
    event text, put_at timestamptz, attempts integer, delay_ms bigint, code text, message text);
  -- What an event was to wait behind may have been dropped while others were sent.
  perform millrace.outbox_promote(new_held);
  return newest;
end
$$;

-- After attempts at held events: deletes the published ones, changes the others. Behind a deleted one, the next of its
-- key is due at once. False if the relay no longer has its lease.
create function millrace.outbox_settle(of_stripe smallint, relay text, with_fence bigint, published text, failed text)
returns boolean language plpgsql as $$
begin
  perform 1 from millrace.outbox_stripes s
  where s.stripe = of_stripe and s.owner = relay and s.fence = with_fence for share;
  if not found then return false; end if;
  delete from millrace.outbox_held h using json_to_recordset(published::json) as p(n bigint) where h.n = p.n;
  update millrace.outbox_held h
  set state = f.state, attempts = f.attempts, next_at = clock_timestamp() + f.delay_ms * interval '1 millisecond',
    failed_at = clock_timestamp(), code = f.code, message = f.message
  from json_to_recordset(failed::json) as f(n bigint, state text, attempts integer, delay_ms bigint, code text,
    message text)
  where h.n = f.n;
  perform millrace.outbox_promote(published);
  return true;
end
$$;

create function millrace.outbox_dead_letters(of_channel text, of_key text, of_id text, most bigint)
returns setof millrace.outbox_held language sql stable as $$
  select h.* from millrace.outbox_held h
  where h.state = 'dead' and (of_channel is null or h.channel = of_channel) and (of_key is null or h.key = of_key)
    and (of_id is null or h.id = of_id)
  order by h.n limit most
$$;

-- Dead events that match (null: any), the oldest first: given back to the relay, or deleted. What waits behind a deleted
-- one is due at once. Returns how many.
create function millrace.outbox_dead(redrive boolean, of_channel text, of_key text, of_id text, most bigint)
returns integer language plpgsql as $$
declare
  found bigint[];
begin
  perform millrace.outbox_isolation();
  -- A relay that holds events behind one of these has done so, or finds it gone.
  perform 1 from millrace.outbox_stripes order by stripe for update;
  select array_agg(d.n) into found from millrace.outbox_dead_letters(of_channel, of_key, of_id, most) d;
  if found is null then return 0; end if;
  if redrive then
    update millrace.outbox_held h set state = 'retry', attempts = 0, next_at = clock_timestamp() where h.n = any (found);
  else
    update millrace.outbox_held b set state = 'retry', next_at = clock_timestamp()
    where b.state = 'behind' and b.n in (
      select (
        select min(o.n) from millrace.outbox_held o where o.channel = h.channel and o.key = h.key and o.n > h.n
      ) from millrace.outbox_held h where h.n = any (found)
    );
    delete from millrace.outbox_held h where h.n = any (found);
  end if;
  return cardinality(found);
end
$$;

-- Truncates slots whose events are all published or held, and begins a new slot when the current one has this size.
-- It waits for nobody: a slot that a transaction still uses is left for a later call.
create function millrace.outbox_rotate(slot_bytes bigint) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  now_in smallint;
  s smallint;
  open boolean;
  freed integer := 0;
begin
  perform millrace.outbox_isolation();
  select o.current into now_in from millrace.outbox_slots o for update skip locked;
  if not found then return 0; end if;
  foreach s in array array[${SLOTS.join(', ')}]::smallint[] loop
    continue when s = now_in or pg_table_size(format('millrace.outbox_commits_%s', s)::regclass) = 0
      and pg_table_size(format('millrace.outbox_progress_%s', s)::regclass) = 0
      and pg_table_size(format('millrace.outbox_%s', s)::regclass) <= 8192;
    begin
      execute format('lock table millrace.outbox_%1$s, millrace.outbox_commits_%1$s, millrace.outbox_progress_%1$s '
        'in access exclusive mode nowait', s);
      execute format('select exists (select 1 from millrace.outbox_commits_%s c left join '
        'millrace.outbox_cursors() k on k.lane = c.lane where k.pos is null or c.pos > k.pos or (c.pos = k.pos and '
        'exists (select 1 from millrace.outbox e where e.tx = c.tx and e.lane = c.lane and e.seq >= c.seq and e.seq > k.seq)))', s) into open;
      continue when open;
      -- A row whose trigger did not run (session_replication_role = replica) has no position, and is kept.
      execute format('select exists (select 1 from millrace.outbox_%1$s e left join millrace.outbox_commits_%1$s c '
        'on c.tx = e.tx and c.lane = e.lane and c.seq <= e.seq where c.tx is null)', s) into open;
      continue when open;
      -- With its number: a relay that has stored a later one meanwhile is not set back.
      insert into millrace.outbox_progress (slot, stripe, n, cursors)
      select now_in, p.stripe, p.n, p.cursors from (
        select distinct on (stripe) * from millrace.outbox_progress order by stripe, n desc
      ) p where p.slot = s;
      execute format('truncate millrace.outbox_%1$s, millrace.outbox_commits_%1$s, millrace.outbox_progress_%1$s', s);
      freed := freed + 1;
    exception when lock_not_available then
      null;
    end;
  end loop;
  if pg_table_size(format('millrace.outbox_%s', now_in)::regclass) >= slot_bytes then
    foreach s in array array[${SLOTS.join(', ')}]::smallint[] loop
      if s <> now_in and pg_table_size(format('millrace.outbox_commits_%s', s)::regclass) = 0
        and pg_table_size(format('millrace.outbox_%s', s)::regclass) <= 8192 then
        update millrace.outbox_slots set current = s, since = now();
        exit;
      end if;
    end loop;
  end if;
  return freed;
end
$$;

revoke execute on function millrace.outbox_rotate(bigint) from public;

-- How far each lane is published: the newest row of each stripe's progress.
create function millrace.outbox_cursors() returns table (stripe smallint, lane smallint, pos bigint, seq bigint)
language sql stable as $$
  select s.stripe, l.lane, l.pos, l.seq from millrace.outbox_stripes s
  cross join lateral (
    select p.cursors from millrace.outbox_progress p where p.stripe = s.stripe order by p.n desc limit 1
  ) p
  cross join lateral json_to_recordset(p.cursors::json) as l(lane smallint, pos bigint, seq bigint)
$$;
`
