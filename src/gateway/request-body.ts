/**
 * Reads request bodies, with a limit for each and for all together, so that no number of senders can fill the memory.
 *
 * Compressed bodies are refused, because their real size is not known in advance.
 */
import type { Readable } from 'node:stream'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import type { Principal } from './access/principal.ts'
import { badRequest } from './problem.ts'

export class RequestBodies {
  readonly #bytesMax: number
  readonly #allBytesMax: number
  readonly #callerBytesMax: number
  #held = 0
  /** Bytes of each caller that has bodies in memory now. */
  readonly #heldBy = new Map<string, number>()

  constructor(bytesMax: number, allBytesMax: number, callerBytesMax: number) {
    this.#bytesMax = bytesMax
    this.#allBytesMax = allBytesMax
    this.#callerBytesMax = callerBytesMax
  }

  /** The bytes of all bodies in memory, and their limit. */
  get held(): { readonly bytes: number; readonly bytesMax: number } {
    return { bytes: this.#held, bytesMax: this.#allBytesMax }
  }

  /**
   * Read the body and give it to `use`. Its bytes count until `use` has finished. `incoming` is Node's own request, if
   * there is one: reading it directly costs a third of reading a `fetch` body.
   * @throws REQUEST_TOO_LARGE · BACKPRESSURE · INVALID_REQUEST when it is compressed or incomplete, or was read before
   */
  async read<Result>(
    request: Request,
    incoming: Readable | undefined,
    principal: Principal,
    use: (body: Uint8Array) => Result | Promise<Result>,
  ): Promise<Result> {
    const encoding = request.headers.get('content-encoding')
    if (encoding !== null && encoding.toLowerCase() !== 'identity')
      throw badRequest(415, `content-encoding ${encoding} is not supported: send the body as it is`)
    if (Number(request.headers.get('content-length') ?? 0) > this.#bytesMax) throw this.#tooLarge()
    const chunks: Uint8Array[] = []
    let bytes = 0
    const caller = `${principal.kind}:${principal.name}`
    const callerBytesMax = principal.limits.bytes ?? this.#callerBytesMax
    const hold = (chunk: Uint8Array): void => {
      bytes += chunk.byteLength
      if (this.#count(caller, chunk.byteLength) > callerBytesMax) {
        throw new MillraceError(
          'BACKPRESSURE',
          `the gateway holds as many request bodies of "${principal.name}" as its limit allows: try again`,
          {
            bytesMax: callerBytesMax,
          },
        )
      }
      if (bytes > this.#bytesMax) throw this.#tooLarge()
      if (this.#held > this.#allBytesMax) {
        throw new MillraceError(
          'BACKPRESSURE',
          'the gateway holds as many request bodies as its limit allows: try again',
          { bytesMax: this.#allBytesMax },
        )
      }
      chunks.push(chunk)
    }
    try {
      // The request is not destroyed when its body is refused, because the refusal goes out on the same connection.
      await eachChunk(chunksOf(request, incoming), hold)
      return await use(chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks))
    } finally {
      this.#count(caller, -bytes)
    }
  }

  #count(caller: string, bytes: number): number {
    this.#held += bytes
    const held = (this.#heldBy.get(caller) ?? 0) + bytes
    if (held > 0) this.#heldBy.set(caller, held)
    else this.#heldBy.delete(caller)
    return held
  }

  #tooLarge(): MillraceError {
    return new MillraceError(
      'REQUEST_TOO_LARGE',
      `the request's body is larger than ${this.#bytesMax} bytes: send fewer events at once`,
      {
        bytesMax: this.#bytesMax,
      },
    )
  }
}

/**
 * The body of a request that may have passed other code of the application. Some keep the bytes that they have read in
 * `rawBody`.
 * @throws INVALID_REQUEST with status 500 when other code has read the body: an event would be stored without its data
 */
function chunksOf(
  request: Request,
  incoming: Readable | undefined,
): AsyncIterable<Uint8Array> | Iterable<Uint8Array> | null {
  const { rawBody } = (incoming ?? {}) as { readonly rawBody?: unknown }
  if (rawBody instanceof Uint8Array) return [rawBody]
  if (incoming?.readableDidRead === true || request.bodyUsed) throw readBefore()
  return incoming?.iterator({ destroyOnReturn: false }) ?? (request.body as AsyncIterable<Uint8Array> | null)
}

function readBefore(): MillraceError {
  return new MillraceError(
    'INVALID_REQUEST',
    'other code of this server has read the body of the request before the gateway: mount the gateway before body parsers such as express.json()',
    { status: 500 },
  )
}

async function eachChunk(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array> | null,
  hold: (chunk: Uint8Array) => void,
): Promise<void> {
  if (body === null) return
  try {
    for await (const chunk of body) hold(chunk)
  } catch (error) {
    if (isMillraceError(error)) throw error
    throw badRequest(400, 'the body of the request ended early')
  }
}
