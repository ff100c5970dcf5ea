/** Errors of Redis and its client library, as Millrace errors. */
import { type ErrorCode, isMillraceError, MillraceError } from '../../base/errors.ts'

/** The beginnings of Redis' error replies, with the Millrace code and what to do. */
const REPLIES: readonly (readonly [begin: RegExp, code: ErrorCode, advice: string])[] = [
  [
    /\bOOM command not allowed/,
    'DISK_FULL',
    'nothing was stored, and nothing is lost: give the server more memory (maxmemory), or let channels keep less',
  ],
  [
    /^MISCONF .*No space/is,
    'DISK_FULL',
    "the disk of the server's append-only file is full: nothing was stored. Free some space",
  ],
  [/^MISCONF /, 'UNAVAILABLE', 'the server cannot write to its disk and takes no writes until it can: see its log'],
  [
    /^(NOAUTH|WRONGPASS) /,
    'UNAUTHENTICATED',
    'give the user and password in the URL, as in redis://user:password@host:6379',
  ],
  [/^NOPERM /, 'FORBIDDEN', "the user's ACL lacks this: see docs/engines/redis.md for what Millrace needs"],
  [
    /^ERR DB index is out of range/,
    'INVALID_OPTION',
    'the server has no database of that number: see its setting `databases`, or use another prefix instead of another database',
  ],
  [/^(MOVED|ASK|CROSSSLOT) /, 'INVALID_OPTION', 'the server is a node of a cluster: add cluster=true to the URL'],
  [
    /^(LOADING|BUSY|TRYAGAIN|MASTERDOWN|CLUSTERDOWN|READONLY|NOREPLICAS|UNBLOCKED) /,
    'UNAVAILABLE',
    'try again in a moment',
  ],
]

/** Whether a call failed because its connection did. Whether it took effect is then not known. */
export function isConnectionFault(error: unknown): boolean {
  if (isMillraceError(error)) return false
  const { name, message } = error as Error
  return name !== 'ReplyError' || /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|UNBLOCKED|TRYAGAIN|BUSY) /.test(message)
}

/** What a failure to connect may mean. */
function hintOf(message: string): string {
  if (/wrong version number|packet length too long|unexpected message|EPROTO/i.test(message))
    return ': the port does not speak TLS; use redis: instead of rediss:'
  if (/self.signed|unable to (get|verify)|certificate/i.test(message))
    return ": give the authority's certificate with ?ca=FILE"
  if (/Connection is closed|ECONNRESET|Protocol error|did not speak/i.test(message))
    return ': is this a Redis server? If its port speaks TLS, use rediss:'
  return ''
}

/** The `MillraceError` for an error of the Redis client. `doing` says what failed. */
export function redisError(error: unknown, doing: string): MillraceError {
  if (isMillraceError(error)) return error
  const { name, message } = error as Error
  const details = { engine: 'redis', doing, answer: message }
  if (name !== 'ReplyError') {
    return new MillraceError(
      'UNAVAILABLE',
      `redis: the connection failed while ${doing}: ${message}${hintOf(message)}`,
      details,
      { cause: error },
    )
  }
  const known = REPLIES.find(([begin]) => begin.test(message))
  if (known !== undefined)
    return new MillraceError(known[1], `redis: the server refused while ${doing}: ${message}: ${known[2]}`, details, {
      cause: error,
    })
  return new MillraceError('STORE_FAILED', `redis: the server failed while ${doing}: ${message}`, details, {
    cause: error,
  })
}
