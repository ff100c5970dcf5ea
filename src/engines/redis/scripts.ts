/**
 * The Lua scripts that run in the server, so that a call is one step for everybody. A script is sent once and then
 * called by its digest.
 *
 * A script works on keys of one prefix (`keys.ts`). The first key is passed as a key, which routes the call in a
 * cluster. The others are made from the base. The cost depends on the events of the call, and on the channel's
 * partitions where a script says so.
 */
import { createHash } from 'node:crypto'
import { PLAIN_BEGIN } from './entries.ts'

export interface Script {
  readonly source: string
  readonly sha: string
}

function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

const COMMON = `
local function int(number) return string.format('%.0f', number) end
local function stream(base, name, partition) return base .. 'stream:' .. name .. ':' .. partition end
local function offsetOf(id) return tonumber(string.match(id, '^(%d+)')) end
local function timeOf(id) return tonumber(string.match(id, '-(%d+)$')) end
local function serverTime() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end
`

/** Deletes the oldest events of a partition, up to an offset, with the notes of which event is the latest of a key. */
const DROP = `
local function drop(base, name, partition, before, latest)
  local from = stream(base, name, partition)
  if latest then
    local keys = base .. 'keys:' .. name
    local cursor, entries = '-', nil
    repeat
      entries = redis.call('XRANGE', from, cursor, '(' .. int(before) .. '-0', 'COUNT', 500)
      for _, entry in ipairs(entries) do
        local fields = entry[2]
        if fields[3] == 'key' and redis.call('HGET', keys, fields[4]) == entry[1] then redis.call('HDEL', keys, fields[4]) end
        cursor = '(' .. entry[1]
      end
    until #entries < 500
  end
  redis.call('XTRIM', from, 'MINID', int(before) .. '-0')
end
`

/** Added to the length of an id that stands in the text. */
export const IN_TEXT = 0x80000000

/**
 * Store events. ARGV: base, channel, sender, how many of the subscribers are the sender itself ('' if they cannot be
 * counted), and the events in two arguments: for each event five numbers of four bytes (partition, bytes of the id for
 * deduplication, of the key, of the head, of the text; 0 for none), and all of these bytes in a row. The head is a JSON
 * array of id and type, if the text has others. An id that stands in the text, where Millrace writes it, has `IN_TEXT`
 * added to its length and is not among the bytes. Answers: milliseconds, first offset, largest event so far,
 * [partition, end before] pairs, and, unless all events were new, the offset of each one (−1 − offset for a duplicate).
 *
 * Known ids are in two generations of a hash. The younger one takes new ids. When it has as many ids as the window, or
 * is as old as the window, the older one is deleted.
 */
export const APPEND: Script = script(`${COMMON}${DROP}
local meta, base, name, sender, hears = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lengths, bytesOf = ARGV[5], ARGV[6]
local call, sub, read = redis.call, string.sub, struct.unpack
local m = call('HMGET', meta, 'next', 'time', 'generation', 'since', 'dedupeAge', 'dedupeCount', 'keepCount', 'keepBytes', 'latest', 'largest', 'bytes',
  'partitions', 'mark', 'trimmed')
if not m[1] then return redis.error_reply('NOCHANNEL ' .. name) end
local now = math.max(serverTime(), tonumber(m[2]))
local age, count = tonumber(m[5]), tonumber(m[6])
local keepCount, keepBytes, latest = tonumber(m[7]), tonumber(m[8]), m[9] == '1'
local largest, bytes, mark = tonumber(m[10]), tonumber(m[11]), tonumber(m[13])
local generation, since = tonumber(m[3]), tonumber(m[4])
local set = { 'time', int(now) }

local ids, wanted, known = {}, {}, {}
local streams, order, counters = {}, {}, {}
local events, from = #lengths / 20, 1
for at = 1, events do
  local partition, id, key, head, text = read('<I4I4I4I4I4', lengths, at * 20 - 19)
  if not streams[partition] then
    streams[partition] = stream(base, name, partition)
    order[#order + 1] = partition
    counters[#counters + 1] = 'count:' .. partition
    counters[#counters + 1] = 'end:' .. partition
  end
  if id >= ${IN_TEXT} then
    id = id - ${IN_TEXT}
    ids[at] = sub(bytesOf, from + key + head + ${PLAIN_BEGIN.length}, from + key + head + ${PLAIN_BEGIN.length - 1} + id)
    from = from - id
  elseif id > 0 then
    ids[at] = sub(bytesOf, from, from + id - 1)
  end
  if id > 0 then wanted[#wanted + 1] = ids[at] end
  from = from + id + key + head + text
end
local young = base .. 'ids:' .. name .. ':' .. generation
if #wanted > 0 then
  local old = base .. 'ids:' .. name .. ':' .. (1 - generation)
  if call('HLEN', young) >= count or now - since > age then
    call('UNLINK', old)
    generation, since = 1 - generation, now
    young, old = old, young
    set[3], set[4], set[5], set[6] = 'generation', generation, 'since', int(since)
  end
  for _, hash in ipairs(call('EXISTS', old) == 1 and { young, old } or { young }) do
    for from = 1, #wanted, 1000 do
      local found = call('HMGET', hash, unpack(wanted, from, math.min(from + 999, #wanted)))
      for at = 1, #found do
        local id = wanted[from + at - 1]
        if found[at] and not known[id] and now - timeOf(found[at]) <= age then known[id] = found[at] end
      end
    end
  end
end

local nextOffset = tonumber(m[1])
local first, stamp, keys = nextOffset, '-' .. int(now), base .. 'keys:' .. name
local counts, before, ends, answers, fresh, all = {}, {}, {}, {}, {}, true
local had = call('HMGET', meta, unpack(counters))
for at = 1, #order do counts[order[at]], before[order[at]] = tonumber(had[2 * at - 1] or 0), tonumber(had[2 * at] or 0) end

local function add(to, id, ...)
  local answer = redis.pcall('XADD', to, id, ...)
  if type(answer) ~= 'table' or not answer.err then return end
  if not string.find(answer.err, 'equal or smaller') then error(answer) end
  -- Another client wrote into this stream. The ids of Millrace continue behind its entry.
  for _, entry in ipairs(call('XRANGE', to, id, '+')) do
    call('XADD', base .. 'in:' .. name, '*', unpack(entry[2]))
    call('XDEL', to, entry[1])
  end
  call('XSETID', to, int(nextOffset - 1) .. stamp, 'ENTRIESADDED', call('XLEN', to), 'MAXDELETEDID', '0-1')
  call('XADD', to, id, ...)
end

from = 1
for at = 1, events do
  local partition, idBytes, keyBytes, headBytes, textBytes = read('<I4I4I4I4I4', lengths, at * 20 - 19)
  local id = ids[at]
  if idBytes < ${IN_TEXT} then from = from + idBytes end
  local keyEnd = from + keyBytes
  local headEnd = keyEnd + headBytes
  local textEnd = headEnd + textBytes
  local duplicate = id and known[id]
  if duplicate then
    answers[at] = -1 - offsetOf(duplicate)
    all = false
  else
    local to, entryId, text = streams[partition], int(nextOffset) .. stamp, sub(bytesOf, headEnd, textEnd - 1)
    local key = keyBytes > 0 and sub(bytesOf, from, keyEnd - 1)
    local number = counts[partition]
    -- Only the first event of a call can meet an entry of another client. Every 64th entry has the number of entries
    -- that its partition had before.
    if ends[partition] and headBytes == 0 and number % 64 ~= 0 then
      if key then call('XADD', to, entryId, 'data', text, 'key', key) else call('XADD', to, entryId, 'data', text) end
    else
      local fields = { 'data', text }
      if key then fields[3], fields[4] = 'key', key end
      if headBytes > 0 then fields[#fields + 1], fields[#fields + 2] = 'head', sub(bytesOf, keyEnd, headEnd - 1) end
      if number % 64 == 0 then fields[#fields + 1], fields[#fields + 2] = 'n', number end
      add(to, entryId, unpack(fields))
    end
    if latest and key then
      local former = call('HGET', keys, key)
      if former then call('XDEL', to, former) end
      call('HSET', keys, key, entryId)
    end
    counts[partition] = number + 1
    ends[partition] = nextOffset + 1
    if id then
      fresh[#fresh + 1] = id
      fresh[#fresh + 1] = entryId
      known[id] = entryId
    end
    bytes = bytes + textBytes
    if textBytes > largest then largest = textBytes end
    answers[at] = nextOffset
    nextOffset = nextOffset + 1
    if keepBytes and bytes - mark >= keepBytes / 32 then
      call('RPUSH', base .. 'marks:' .. name, int(nextOffset) .. '-' .. int(bytes))
      mark = bytes
    end
  end
  from = textEnd
end

if #fresh > 0 then
  local began = call('EXISTS', young) == 0
  for from = 1, #fresh, 1000 do call('HSET', young, unpack(fresh, from, math.min(from + 999, #fresh))) end
  if began then call('PEXPIRE', young, int(2 * age + 60000)) end
end
local function put(field, value) set[#set + 1] = field set[#set + 1] = value end
local touched, bell = {}, {}
for at = 1, #order do
  local partition = order[at]
  if ends[partition] then
    put('count:' .. partition, int(counts[partition]))
    put('end:' .. partition, int(ends[partition]))
    touched[#touched + 1] = partition
    touched[#touched + 1] = before[partition]
    bell[#bell + 1] = partition .. ':' .. int(ends[partition])
  end
end
if nextOffset > first then
  put('next', int(nextOffset))
  put('bytes', int(bytes))
  put('largest', int(largest))
  put('mark', int(mark))
  local trimmed = tonumber(m[14])
  if keepCount and nextOffset - keepCount - trimmed >= math.max(64, keepCount / 8) then
    trimmed = nextOffset - keepCount
    for partition = 0, m[12] - 1 do drop(base, name, partition, trimmed, latest) end
    put('trimmed', int(trimmed))
  end
  call('HSET', meta, unpack(set))
  local heard = hears ~= '' and redis.pcall('PUBSUB', 'NUMSUB', base .. 'bell:' .. name)
  if not heard or heard.err or heard[2] > tonumber(hears) then
    call('PUBLISH', base .. 'bell:' .. name, sender .. ' ' .. table.concat(bell, ','))
  end
elseif #set > 2 then
  call('HSET', meta, unpack(set))
end
return { now, first, largest, touched, all and events or answers }
`)

/** The offsets of events whose ids are in the window; −1 for other ids. */
export const KNOWN: Script = script(`${COMMON}
local base, name = ARGV[1], ARGV[2]
local m = redis.call('HMGET', KEYS[1], 'next', 'dedupeAge')
if not m[1] then return redis.error_reply('NOCHANNEL ' .. name) end
local now, age, answers = serverTime(), tonumber(m[2]), {}
for at = 3, #ARGV do
  local offset = -1
  for generation = 0, 1 do
    local found = redis.call('HGET', base .. 'ids:' .. name .. ':' .. generation, ARGV[at])
    if found and now - timeOf(found) <= age then offset = offsetOf(found) end
  end
  answers[#answers + 1] = offset
end
return answers
`)

/** ARGV: base, channel, partition ('' for all). Answers: first, next, largest event, entries in the inbox. */
export const BOUNDS: Script = script(`${COMMON}
local base, name, partition = ARGV[1], ARGV[2], ARGV[3]
local m = redis.call('HMGET', KEYS[1], 'next', 'partitions', 'largest', 'end:' .. partition)
if not m[1] then return redis.error_reply('NOCHANNEL ' .. name) end
local inside = redis.call('XLEN', base .. 'in:' .. name)
local from, to, after = 0, m[2] - 1, tonumber(m[1])
if partition ~= '' then from, to, after = tonumber(partition), tonumber(partition), tonumber(m[4] or 0) end
local first = after
for at = from, to do
  local head = redis.call('XRANGE', stream(base, name, at), '-', '+', 'COUNT', 1)[1]
  if head then first = math.min(first, offsetOf(head[1])) end
end
return { first, after, tonumber(m[3]), inside }
`)

/** Times grow with offsets, so a binary search finds the first event at or after a time. */
const FIND = `
local function find(from, time)
  local head = redis.call('XRANGE', from, '-', '+', 'COUNT', 1)[1]
  if not head then return nil end
  if timeOf(head[1]) >= time then return offsetOf(head[1]) end
  local last = redis.call('XREVRANGE', from, '+', '-', 'COUNT', 1)[1]
  if timeOf(last[1]) < time then return nil end
  local low, high = offsetOf(head[1]), offsetOf(last[1])
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    local id = redis.call('XRANGE', from, int(middle), '+', 'COUNT', 1)[1][1]
    if timeOf(id) >= time then high = middle else low = offsetOf(id) end
  end
  return offsetOf(redis.call('XRANGE', from, int(high), '+', 'COUNT', 1)[1][1])
end
`

/**
 * ARGV: base, channel, partition ('' for all), milliseconds. Answers the offset of the first event at or after the
 * time, or the end.
 */
export const SEEK: Script = script(`${COMMON}${FIND}
local base, name, partition, time = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local m = redis.call('HMGET', KEYS[1], 'next', 'partitions', 'end:' .. partition)
if not m[1] then return redis.error_reply('NOCHANNEL ' .. name) end
if partition ~= '' then return find(stream(base, name, partition), time) or tonumber(m[3] or 0) end
local found = tonumber(m[1])
for at = 0, m[2] - 1 do found = math.min(found, find(stream(base, name, at), time) or found) end
return found
`)

/**
 * ARGV: base, channel, partition, offset. Answers the number of events of the partition at and after the offset: they
 * are counted up to the next entry with a number.
 */
export const PENDING: Script = script(`${COMMON}
local base, name, partition, offset = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local had = redis.call('HGET', KEYS[1], 'count:' .. partition)
local from, seen = stream(base, name, partition), 0
local cursor = offset
while had and seen < 4096 do
  local entries = redis.call('XRANGE', from, cursor, '+', 'COUNT', 64)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    if #fields > 2 and fields[#fields - 1] == 'n' then
      return math.min(seen + tonumber(had) - tonumber(fields[#fields]), redis.call('XLEN', from))
    end
    seen = seen + 1
  end
  if #entries < 64 then return seen end
  cursor = '(' .. entries[64][1]
end
return had and redis.call('XLEN', from) or 0
`)

/**
 * ARGV: base, channel, then fields and values. KEYS: the channel, all channels. Creates the channel unless it exists.
 * ARGV[3] is its entry.
 */
export const CREATE: Script = script(`
local meta, channels, name = KEYS[1], KEYS[2], ARGV[2]
if redis.call('HSETNX', channels, name, ARGV[3]) == 0 then return 0 end
redis.call('HSET', meta, 'next', 0, 'time', 0, 'generation', 0, 'since', 0, 'largest', 0, 'bytes', 0, 'mark', 0, 'trimmed', 0, unpack(ARGV, 4))
return 1
`)

/**
 * Changes a channel that is still as it was read. ARGV as in CREATE, with the entry as it was read before the fields.
 * Answers 0 if the entry has changed.
 */
export const UPDATE: Script = script(`
local meta, channels, name = KEYS[1], KEYS[2], ARGV[2]
if redis.call('HEXISTS', channels, name) == 0 then return redis.error_reply('NOCHANNEL ' .. name) end
if redis.call('HGET', channels, name) ~= ARGV[4] then return 0 end
redis.call('HSET', channels, name, ARGV[3])
redis.call('HDEL', meta, 'keepAge', 'keepCount', 'keepBytes')
redis.call('HSET', meta, unpack(ARGV, 5))
return 1
`)

/** ARGV: base, channel, sender. KEYS: the channel, all channels. */
export const REMOVE: Script = script(`${COMMON}
local meta, channels, base, name, sender = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local partitions = redis.call('HGET', meta, 'partitions')
redis.call('HDEL', channels, name)
for partition = 0, (partitions or 0) - 1 do redis.call('UNLINK', stream(base, name, partition)) end
redis.call('UNLINK', meta, base .. 'ids:' .. name .. ':0', base .. 'ids:' .. name .. ':1', base .. 'keys:' .. name, base .. 'marks:' .. name, base .. 'in:' .. name)
redis.call('PUBLISH', base .. 'bell:' .. name, sender .. ' ')
return 1
`)

/** Deletes what retention does not keep. ARGV: base, channel. */
export const RETAIN: Script = script(`${COMMON}${DROP}${FIND}
local meta, base, name = KEYS[1], ARGV[1], ARGV[2]
local m = redis.call('HMGET', meta, 'next', 'partitions', 'keepAge', 'keepCount', 'keepBytes', 'latest', 'bytes')
if not m[1] then return 0 end
local before, latest = 0, m[6] == '1'
if m[4] then before = math.max(before, m[1] - m[4]) end
if m[5] then
  local marks = base .. 'marks:' .. name
  while true do
    local mark = redis.call('LINDEX', marks, 0)
    if not mark or m[7] - timeOf(mark) < tonumber(m[5]) then break end
    before = math.max(before, offsetOf(mark))
    redis.call('LPOP', marks)
  end
end
local time = m[3] and serverTime() - m[3]
for partition = 0, m[2] - 1 do
  local from = stream(base, name, partition)
  local upTo = before
  if time then
    local young = find(from, time)
    if not young then young = tonumber(m[1]) end
    upTo = math.max(upTo, young)
  end
  if upTo > 0 then drop(base, name, partition, upTo, latest) end
end
return 1
`)

/**
 * Appends the first entry of a consumer log. KEYS: the consumer log, all consumer logs. ARGV: id, entry. Versions begin
 * at the current time, above those of an earlier consumer log of this id.
 */
export const BEGIN_CONSUMER_LOG: Script = script(`${COMMON}
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('FENCED') end
local version = serverTime() * 1000
redis.call('XADD', KEYS[1], int(version) .. '-0', 'e', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
return version
`)

/** KEYS: the group's members. ARGV: member, its text, and for how many milliseconds it counts. */
export const BEAT: Script = script(`${COMMON}
redis.call('HSET', KEYS[1], ARGV[1], int(serverTime() + ARGV[3]) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], int(math.max(tonumber(ARGV[3]), redis.call('PTTL', KEYS[1]))))
return 1
`)

/** KEYS: the group's members. Answers [member, text] pairs of those that count, and deletes the others. */
export const MEMBERS: Script = script(`${COMMON}
local now, found, all = serverTime(), {}, redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local till, text = string.match(all[at + 1], '^(%d+) (.*)$')
  if tonumber(till) < now then redis.call('HDEL', KEYS[1], all[at])
  else found[#found + 1] = all[at] found[#found + 1] = text end
end
return found
`)
