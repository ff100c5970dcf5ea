/**
 * The console's files over HTTP: the page, and assets whose names contain a hash of their content.
 *
 * The files contain no data, so everyone who reaches the gateway gets them. The page asks for a token if the gateway
 * requires one. It is built from `console/` into `dist/console`, and loads nothing from other hosts.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { Hono } from 'hono'
import { MillraceError } from '../../base/errors.ts'
import { shown } from '../../base/shown.ts'
import { knownOptions } from '../../base/units.ts'

export interface ConsoleOptions {
  /** The path at which the gateway serves the console. @default '/console' */
  readonly path?: string
  /**
   * Where traces are shown: the address of one, with `{traceId}` in it, as in `https://jaeger.example/trace/{traceId}`.
   * The page of an event with a `traceparent` links to it.
   * @default undefined: no link
   */
  readonly traceUrl?: string
}

/** The options of a console that is served. */
export interface ServedConsole {
  readonly path: string
  readonly traceUrl: string | null
}

interface ConsoleFile {
  readonly type: string
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Compressed on the first request for it. */
  gzipped: Uint8Array<ArrayBuffer> | null
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
}
/**
 * Only scripts and styles of the console's own files, nothing inline, and no frame around the page. React sets styles
 * through the DOM, which does not need `unsafe-inline`.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')
const HEADERS = {
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  vary: 'accept-encoding',
}
const PATH = /^\/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)?$/
/** The places in the page for the relative URL of the gateway's root, and for the address of traces. */
const ROOT_MARK = 'content="./" data-root'
const TRACE_MARK = 'content="" data-trace'
const TRACE_ID = '{traceId}'

/**
 * The console as it is served, or null if it is not.
 * @throws INVALID_OPTION when the option or a part of it is wrong
 */
export function servedConsole(option: boolean | ConsoleOptions | undefined): ServedConsole | null {
  if (option === undefined || option === false) return null
  if (option === true) return { path: '/console', traceUrl: null }
  if (typeof option !== 'object' || option === null)
    throw new MillraceError(
      'INVALID_OPTION',
      `console must be true, false or { path, traceUrl }; it is ${shown(option)}`,
      {
        option: 'console',
      },
    )
  knownOptions(option, ['path', 'traceUrl'], 'console')
  const { path = '/console', traceUrl } = option
  if (typeof path === 'string' && PATH.test(path))
    return { path, traceUrl: traceUrl === undefined ? null : checkedTraceUrl(traceUrl) }
  throw new MillraceError(
    'INVALID_OPTION',
    `console.path must be a path such as "/" or "/ops/console", without a slash at its end; it is ${shown(path)}`,
    { option: 'console.path' },
  )
}

function checkedTraceUrl(given: unknown): string {
  if (typeof given === 'string' && given.includes(TRACE_ID)) {
    const filled = given.replaceAll(TRACE_ID, '0'.repeat(32))
    if (/^https?:\/\//i.test(filled) && URL.canParse(filled)) return given
  }
  throw new MillraceError(
    'INVALID_OPTION',
    `console.traceUrl must be the http or https address of a trace with ${TRACE_ID} in it, as in https://jaeger.example/trace/${TRACE_ID}; it is ${shown(given)}`,
    { option: 'console.traceUrl' },
  )
}

/**
 * Serve the console.
 * @throws INVALID_OPTION when the package has no built console
 */
export function mountConsole(app: Hono, served: ServedConsole, folder: string = builtFolder()): void {
  const { path } = served
  const files = filesIn(folder)
  const base = path === '/' ? '' : path
  const page = pageIn(files, served)
  const answer = (file: ConsoleFile | undefined, request: Request, cache: string): Response | null =>
    file === undefined ? null : fileAnswer(file, request.headers.get('accept-encoding') ?? '', cache)
  if (base !== '') {
    const below = `${base.slice(base.lastIndexOf('/') + 1)}/`
    app.get(base, (c) => new Response(null, { status: 308, headers: { location: below + new URL(c.req.url).search } }))
  }
  app.get(`${base}/`, (c) => answer(page, c.req.raw, 'no-cache') as Response)
  for (const name of ['THIRD-PARTY.txt', 'icon.svg'])
    app.get(`${base}/${name}`, (c, next) => answer(files.get(name), c.req.raw, 'no-cache') ?? next())
  app.get(
    `${base}/assets/:file`,
    (c, next) =>
      answer(files.get(`assets/${c.req.param('file')}`), c.req.raw, 'public, max-age=31536000, immutable') ?? next(),
  )
}

/**
 * The folder of the built console. An application's bundle does not contain these files. A CommonJS bundle does not
 * know its own folder either, and uses the files of the installed package.
 */
function builtFolder(): string {
  const { url } = import.meta as { readonly url?: string }
  if (url === undefined) return join(process.cwd(), 'node_modules/millrace/dist/console')
  return join(dirname(fileURLToPath(url)), '../../../dist/console')
}

function filesIn(folder: string): ReadonlyMap<string, ConsoleFile> {
  try {
    const names = ['index.html', 'THIRD-PARTY.txt', 'icon.svg']
    const assets = readdirSync(join(folder, 'assets')).map((name) => `assets/${name}`)
    return new Map(
      [...names, ...assets].flatMap((name): [string, ConsoleFile][] => {
        const type = TYPES[name.slice(name.lastIndexOf('.') + 1)]
        if (type === undefined) return []
        return [[name, { type, bytes: new Uint8Array(readFileSync(join(folder, name))), gzipped: null }]]
      }),
    )
  } catch (cause) {
    throw new MillraceError(
      'INVALID_OPTION',
      `the console's files are not in ${folder}: use the published package, or build it with npm run build`,
      { option: 'console', path: folder },
      { cause },
    )
  }
}

function pageIn(files: ReadonlyMap<string, ConsoleFile>, { path, traceUrl }: ServedConsole): ConsoleFile {
  const page = files.get('index.html') as ConsoleFile
  const up = path === '/' ? './' : '../'.repeat(path.split('/').length - 1)
  const text = new TextDecoder()
    .decode(page.bytes)
    .replace(ROOT_MARK, () => `content="${up}"`)
    .replace(TRACE_MARK, () => `content="${attributeText(traceUrl ?? '')}"`)
  return { ...page, bytes: new Uint8Array(new TextEncoder().encode(text)) }
}

function attributeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;')
}

function fileAnswer(file: ConsoleFile, accepts: string, cache: string): Response {
  const headers = { ...HEADERS, 'content-type': file.type, 'cache-control': cache }
  if (!/\bgzip\b/.test(accepts)) return new Response(file.bytes, { headers })
  file.gzipped ??= new Uint8Array(gzipSync(file.bytes))
  return new Response(file.gzipped, { headers: { ...headers, 'content-encoding': 'gzip' } })
}
