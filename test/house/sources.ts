/** The project's own files, as the house tests read them. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url))

export interface SourceFile {
  /** Path from the project's root, with `/`. */
  readonly path: string
  readonly text: string
}

/**
 * Files below `folder` (from the root) whose name ends in `ending`, in the order of their paths, without build outputs
 * and dependencies.
 */
export function filesBelow(folder: string, ending: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length).replaceAll('\\', '/'))
    .filter((path) => !/(^|\/)(node_modules|dist)\//.test(path) && !path.startsWith('docs/api/'))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
}
