/** The catalogue as files: Markdown pages, an AsyncAPI document, and each JSON Schema. Pure. */
import { type AsyncApiOptions, asyncApiOf, distinction } from './async-api.ts'
import type { Catalogue } from './catalogue.ts'
import { FileNames } from './file-names.ts'
import { markdownOf } from './markdown.ts'

export interface DocumentOptions extends AsyncApiOptions {
  readonly title: string
}

/** The texts by their paths, which are relative. */
export function documentsOf(catalogue: Catalogue, options: DocumentOptions): ReadonlyMap<string, string> {
  const names = new FileNames()
  const files = new Map(markdownOf(catalogue, options.title))
  files.set('asyncapi.json', textOf(asyncApiOf(catalogue, options)))
  for (const { type, schemas } of catalogue.events)
    for (const each of schemas)
      if (each.schema !== null)
        files.set(names.of('schemas', `${type}${distinction(each, schemas)}`, 'json'), textOf(each.schema))
  return files
}

function textOf(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`
}
