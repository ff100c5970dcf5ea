/**
 * The library `ws`, loaded when a WebSocket is needed: it is CommonJS and requires modules of Node, which a bundle of ES modules made by esbuild cannot do.
 * So such a bundle starts, and only its WebSockets need the library beside it.
 */
import { MillraceError } from '../base/errors.ts'

/** What of the library is used. */
export type WebSocketLibrary = typeof import('ws')

/** No literal: a bundler leaves the import of it as it is, and Node looks for the library at run time. */
const NAME: string = ['w', 's'].join('')

let library: Promise<WebSocketLibrary> | null = null

/** @throws MISSING_DEPENDENCY in a bundle that cannot run the library, where it is not installed beside it */
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
