/**
 * The client libraries of other brokers. They are not dependencies of Millrace: each is loaded when a URL needs it.
 *
 * Owns the table of supported versions. There are no optional peer dependencies: they make installs unsolvable for
 * users of other engines.
 */
import { readFileSync } from 'node:fs'
import Module from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { MillraceError } from '../base/errors.ts'

/** The engine that needs it, the oldest supported version, and the first major version that is not supported. */
interface Supported {
  readonly engine: string
  readonly from: string
  readonly below: number
}

export const CLIENT_LIBRARIES: Readonly<Record<ClientLibrary, Supported>> = {
  '@nats-io/transport-node': { engine: 'nats', from: '3.4.0', below: 4 },
  '@platformatic/kafka': { engine: 'kafka', from: '1.35.0', below: 3 },
  ioredis: { engine: 'redis', from: '6.0.0', below: 7 },
  pg: { engine: 'postgres', from: '8.23.1', below: 9 },
}

export type ClientLibrary = '@nats-io/transport-node' | '@platformatic/kafka' | 'ioredis' | 'pg'

/** Finds and loads a library. Tests provide their own loader. */
export interface ModuleLoader {
  /** File URL of the library's entry. @throws when it is not installed */
  resolve(name: string): string
  import(url: string): Promise<unknown>
}

const installed: ModuleLoader = {
  resolve: (name) => {
    try {
      return import.meta.resolve(name)
    } catch {
      // As a member of the default export, because a bundler would treat a named import as its own.
      // Some package managers show a package only its declared dependencies: search from the application too.
      return pathToFileURL(Module.createRequire(join(process.cwd(), 'package.json')).resolve(name)).href
    }
  },
  // A bundler cannot know the library: the program loads it, as it is installed.
  import: (url) => import(/* webpackIgnore: true */ /* @vite-ignore */ url),
}

/**
 * Load a client library, of a version that is supported.
 *
 * @throws MISSING_DEPENDENCY naming what to install
 */
export async function loadClient<Module>(name: ClientLibrary, loader: ModuleLoader = installed): Promise<Module> {
  const supported = CLIENT_LIBRARIES[name]
  const install = `npm install ${name}@^${supported.from}`
  let url: string
  try {
    url = loader.resolve(name)
  } catch (cause) {
    throw missing(`${supported.engine}: the library ${name} is needed and not installed: ${install}`, name, null, cause)
  }
  const version = versionOf(name, url)
  if (version !== null && !isSupported(version, supported)) {
    throw missing(
      `${supported.engine}: ${name} ${version} is installed, and the engine needs ${supported.from} or later, below ${supported.below}.0.0: ${install}`,
      name,
      version,
    )
  }
  try {
    return (await loader.import(url)) as Module
  } catch (cause) {
    throw missing(
      `${supported.engine}: the library ${name} ${version ?? ''} is installed and cannot be loaded: ${install}`,
      name,
      version,
      cause,
    )
  }
}

function missing(message: string, library: string, version: string | null, cause?: unknown): MillraceError {
  return new MillraceError('MISSING_DEPENDENCY', message, { library, version }, { cause })
}

/** The version in the package.json above a module's file; null if there is none of that name. */
function versionOf(name: string, url: string): string | null {
  let folder = dirname(fileURLToPath(url))
  for (;;) {
    try {
      const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        readonly name?: string
        readonly version?: string
      }
      if (manifest.name === name) return manifest.version ?? null
    } catch {
      // No package.json here: go one folder up.
    }
    const above = dirname(folder)
    if (above === folder) return null
    folder = above
  }
}

function isSupported(version: string, { from, below }: Supported): boolean {
  const [least, found] = [from, version].map((text) => text.split(/[.-]/, 3).map(Number))
  if ((found?.[0] ?? 0) >= below) return false
  for (let at = 0; at < 3; at++) {
    const difference = (found?.[at] ?? 0) - (least?.[at] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return true
}
