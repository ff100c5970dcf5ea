/** `millrace docs`: writes the catalogue of a broker as Markdown, AsyncAPI and JSON Schemas. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { MillraceError } from '../base/errors.ts'
import { jsonObject } from '../base/json-object.ts'
import { ASYNC_API_VERSIONS, type AsyncApiVersion } from '../catalogue/async-api.ts'
import { type Catalogue, catalogueOf } from '../catalogue/catalogue.ts'
import { documentsOf } from '../catalogue/documents.ts'
import { CatalogueLook } from '../catalogue/look.ts'
import { visibleFacts } from '../catalogue/visible.ts'
import { colour, complete, printJson } from './output.ts'
import { looking, nameOf, type TargetOptions } from './target.ts'

export interface DocsOptions extends TargetOptions {
  readonly out: string
  readonly title: string
  readonly asyncapi: string
  /** False: no data of events is written. */
  readonly examples: boolean
}

/** The list of the files that an earlier run wrote, so that pages of events that are gone are removed. */
const LIST = '.millrace-docs.json'
/** What can be in the list: nothing outside of the directory is removed. */
const OURS = /^(?:README\.md|asyncapi\.json|(?:events|channels)\/[\w$.-]+\.md|schemas\/[\w$.@-]+\.json)$/

export async function docsCommand(options: DocsOptions): Promise<void> {
  const { out, title, examples } = options
  const version = versionOf(options.asyncapi)
  const catalogue = await looking(options, async (broker): Promise<Catalogue> => {
    const looked = await new CatalogueLook(broker).look()
    return catalogueOf(visibleFacts(looked, { sees: () => true, reads: () => examples }))
  })
  const files = documentsOf(catalogue, { title, version })
  write(out, files)
  const { events, channels, warnings } = catalogue
  if (options.json === true)
    printJson({ directory: out, files: [...files.keys()], events: events.length, channels: channels.length, warnings })
  else for (const { message } of warnings) process.stderr.write(`${colour('yellow', '!')} ${message}\n`)
  complete(
    `${events.length} event(s) in ${channels.length} channel(s) of ${nameOf(options)}, written to ${out}`,
    options,
  )
}

/** @throws INVALID_OPTION */
function versionOf(asyncapi: string): AsyncApiVersion {
  const version = ASYNC_API_VERSIONS.find((each) => each === asyncapi)
  if (version !== undefined) return version
  throw new MillraceError(
    'INVALID_OPTION',
    `--asyncapi must be one of ${ASYNC_API_VERSIONS.join(', ')}; it is "${asyncapi.slice(0, 40)}"`,
    { option: 'asyncapi' },
  )
}

/**
 * Write the files, and remove those that an earlier run wrote and this one does not.
 * @throws INVALID_OPTION, before anything is changed, when a file is there that no earlier run wrote
 */
function write(directory: string, files: ReadonlyMap<string, string>): void {
  try {
    const earlier = new Set(listed(directory))
    for (const path of files.keys()) {
      if (earlier.has(path) || !existsSync(join(directory, path))) continue
      throw new MillraceError(
        'INVALID_OPTION',
        `${join(directory, path)} is there, and millrace docs did not write it: choose another directory with --out`,
        { option: 'out', path },
      )
    }
    mkdirSync(directory, { recursive: true })
    // First the list: a run that is interrupted leaves no file behind that is not listed.
    writeFileSync(join(directory, LIST), `${JSON.stringify({ files: [...new Set([...earlier, ...files.keys()])] })}\n`)
    for (const [path, text] of files) {
      mkdirSync(dirname(join(directory, path)), { recursive: true })
      writeFileSync(join(directory, path), text)
    }
    for (const path of earlier) if (!files.has(path)) rmSync(join(directory, path), { force: true })
    writeFileSync(join(directory, LIST), `${JSON.stringify({ files: [...files.keys()] })}\n`)
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause
    const message = `${directory} cannot be written: ${(cause as Error).message}`
    throw new MillraceError('INVALID_OPTION', message, { option: 'out' }, { cause })
  }
}

function listed(directory: string): readonly string[] {
  const path = join(directory, LIST)
  if (!existsSync(path)) return []
  const files = jsonObject(readFileSync(path, 'utf8'))?.['files']
  return Array.isArray(files) ? files.filter((each) => typeof each === 'string' && OURS.test(each)) : []
}
