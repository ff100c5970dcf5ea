/**
 * Loads the library `ws` when a WebSocket is needed. `ws` is CommonJS and requires modules of Node, which fails inside
 * an ES module bundle made by esbuild.
 *
 * Such a bundle still starts; only its WebSockets need `ws` installed beside it.
 */
import { MillraceError } from '../base/errors.ts'

/** The type of the library. */
export type WebSocketLibrary = typeof import('ws')

/** The name is not a literal, so that a bundler leaves this import alone and Node looks for the library at run time. */
const NAME: string = ['w', 's'].join('')

let library: Promise<WebSocketLibrary> | null = null

/**
 * Loads the library for WebSockets.
 * @throws MISSING_DEPENDENCY in a bundle that cannot run the library, when it is not installed beside the bundle
 */
export function webSocketLibrary(): Promise<WebSocketLibrary> {
  library ??= load()
  return library
}

async function load(): Promise<WebSocketLibrary> {
  try {
    return await import('ws')
  } catch (bundled) {
    try {
      return (await import(/* webpackIgnore: true */ /* @vite-ignore */ NAME)) as WebSocketLibrary
    } catch {
      const cause = (bundled as Error).message
      const message = `WebSockets need the library ws, which this bundle cannot run (${cause}): tell the bundler that ws is external, and install it with npm install ws@8`
      throw new MillraceError('MISSING_DEPENDENCY', message, { library: 'ws', version: null }, { cause: bundled })
    }
  }
}
