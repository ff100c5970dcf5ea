/**
 * Opens the remote engine: `ws://host:port` and `wss://…` for a Millrace server (`millrace serve`, `serveGateway`), and
 * `unix:PATH` for a socket on which the owner of a data directory listens.
 */
import type { IncomingMessage } from 'node:http'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { withoutSecrets } from '../../base/shown.ts'
import type { ConnectOptions } from '../../broker/connect.ts'
import { decodedSecret } from '../../broker/url-secret.ts'
import { RemoteEngine } from '../../wire/client/remote-engine.ts'
import { dialSocket } from '../../wire/socket-transport.ts'
import type { Transport } from '../../wire/transport.ts'
import { webSocketLibrary } from '../../wire/web-socket-library.ts'
import { WebSocketTransport } from '../../wire/web-socket-transport.ts'

const SUBPROTOCOL = 'millrace.1'
/** The path at which a server accepts WebSockets, unless the URL has another. */
const DEFAULT_PATH = '/ws'

/**
 * The engine of a server, over one connection at a time. The first connection is tried once. A connection that is lost
 * later is opened again.
 *
 * @throws UNAVAILABLE when no server answers · UNAUTHENTICATED · FORBIDDEN when the server refuses · INVALID_OPTION
 * when the URL is not valid
 */
export async function openRemoteEngine(
  url: string,
  options: Pick<ConnectOptions, 'onAlarm' | 'token'> = {},
): Promise<RemoteEngine> {
  const isLocal = url.startsWith('unix:')
  const { dial, token } = isLocal ? { dial: unixDial(url), token: null } : webSocketDial(url, options.token)
  return RemoteEngine.open({ name: 'remote', dial, token, recordsActions: !isLocal, onAlarm: options.onAlarm })
}

function unixDial(url: string): () => Promise<Transport> {
  const path = decodedPath(url.slice('unix:'.length).replace(/^\/\/(?=\/)/, ''), url)
  if (path === '')
    throw new MillraceError('INVALID_OPTION', 'unix: needs the path of a socket, as in unix:/run/millrace.sock', {
      url,
    })
  return async () => (await dialSocket(path, LIMITS.wireHelloMs)).transport
}

function decodedPath(path: string, url: string): string {
  try {
    return decodeURIComponent(path)
  } catch (cause) {
    throw new MillraceError(
      'INVALID_OPTION',
      `${url} is not percent-encoded: if a % belongs to the path, write %25`,
      { url },
      { cause },
    )
  }
}

function webSocketDial(
  url: string,
  given: string | undefined,
): { readonly dial: () => Promise<Transport>; readonly token: string | null } {
  const target = parsed(url)
  const token =
    given ??
    (target.username === ''
      ? null
      : decodedSecret(target.password === '' ? target.username : target.password, 'the URL of the server'))
  target.username = ''
  target.password = ''
  if (target.pathname === '/') target.pathname = DEFAULT_PATH
  return { token, dial: () => dialWebSocket(target, token) }
}

function parsed(url: string): URL {
  try {
    return new URL(url)
  } catch (cause) {
    const shownUrl = withoutSecrets(url)
    throw new MillraceError(
      'INVALID_OPTION',
      `"${shownUrl}" is not a URL: use ws://host:port or wss://host:port`,
      { url: shownUrl },
      { cause },
    )
  }
}

/**
 * Masks keep published data from being taken for a request by an old proxy between client and server (RFC 6455, 10.3).
 * With TLS no proxy can read the data, and within one machine there is no proxy. There the mask is zero, which costs no
 * time.
 */
function hasNothingBetween({ protocol, hostname }: URL): boolean {
  return protocol === 'wss:' || hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname)
}

function noMask(mask: Buffer): void {
  mask.fill(0)
}

async function dialWebSocket(url: URL, token: string | null): Promise<Transport> {
  const { WebSocket } = await webSocketLibrary()
  return new Promise((resolve, reject) => {
    let beneath: IncomingMessage['socket'] | null = null
    const socket = new WebSocket(url, SUBPROTOCOL, {
      handshakeTimeout: LIMITS.wireHelloMs,
      maxPayload: LIMITS.wireFrameBytesMax,
      perMessageDeflate: false,
      ...(hasNothingBetween(url) && { generateMask: noMask }),
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
    })
    const fail = (error: Error): void => reject(unreachable(url, error.message, error))
    socket.once('error', fail)
    socket.once('upgrade', (response) => {
      beneath = response.socket
    })
    socket.once('unexpected-response', (request, response) => {
      void refusal(url, response).then((error) => {
        reject(error)
        request.destroy()
      })
    })
    socket.once('open', () => {
      socket.off('error', fail)
      resolve(new WebSocketTransport(socket, (alive) => (alive ? beneath?.ref() : beneath?.unref())))
    })
  })
}

function unreachable(url: URL, why: string, cause?: unknown): MillraceError {
  return new MillraceError(
    'UNAVAILABLE',
    `no Millrace server answers at ${url.origin}${url.pathname}: ${why}`,
    { url: withoutSecrets(url.href) },
    { cause },
  )
}

const PROBLEM_BYTES_MAX = 16_384

/** The error for a server that refuses the WebSocket: from its problem document, if the server is a Millrace server. */
async function refusal(url: URL, response: IncomingMessage): Promise<MillraceError> {
  const status = response.statusCode ?? 0
  let text = ''
  try {
    for await (const chunk of response) {
      text += String(chunk)
      if (text.length > PROBLEM_BYTES_MAX) break
    }
    const { detail, code } = JSON.parse(text) as { readonly detail?: string; readonly code?: string }
    if (status === 401)
      return new MillraceError('UNAUTHENTICATED', `${url.origin} refuses: ${detail ?? 'it wants credentials'}`, {
        url: withoutSecrets(url.href),
        status,
      })
    if (status === 403)
      return new MillraceError('FORBIDDEN', `${url.origin} refuses: ${detail ?? 'not permitted'}`, {
        url: withoutSecrets(url.href),
        status,
      })
    return unreachable(url, `${status} ${code ?? ''} ${detail ?? ''}`.trimEnd())
  } catch {
    return unreachable(url, `it answers ${status}, so it may not be a Millrace server`)
  }
}
