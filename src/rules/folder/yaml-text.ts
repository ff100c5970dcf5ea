/** YAML that people write by hand, read in a time that its size bounds: deep nesting is refused before it is parsed, and keys are compared by a table. */
import { type Document, isScalar, parseAllDocuments, visit } from 'yaml'

const DEPTH_MAX = 100
/** Blocks that begin on one line within each other: `- - - a`. */
const BLOCKS_ON_A_LINE = new RegExp(`(?:[-?:][ \\t]+){${DEPTH_MAX}}`)

/** The values of a text's documents. Few aliases: a small text must not stand for a large value. @throws Error that says what is wrong, and where */
export function yamlValues(text: string, maxAliasCount: number): unknown[] {
  refuseDeep(text)
  return parseAllDocuments(text, { prettyErrors: true, uniqueKeys: false }).map((document: Document) => {
    const [error] = document.errors
    if (error !== undefined) throw error
    refuseTwice(document, text)
    return document.toJS({ maxAliasCount }) as unknown
  })
}

/** Brackets in texts count, too: nobody writes so many that are not closed. */
function refuseDeep(text: string): void {
  let depth = 0
  for (const bracket of text.match(/[[\]{}]/g) ?? []) {
    depth = Math.max(0, depth + (bracket === '[' || bracket === '{' ? 1 : -1))
    if (depth > DEPTH_MAX) break
  }
  if (depth > DEPTH_MAX || BLOCKS_ON_A_LINE.test(text))
    throw new Error(`it is nested more than ${DEPTH_MAX} levels deep`)
}

function refuseTwice(document: Document, text: string): void {
  visit(document, {
    Map: (_, { items }) => {
      const keys = new Set<unknown>()
      for (const { key } of items) {
        if (!isScalar(key)) continue
        if (keys.has(key.value))
          throw new Error(
            `map keys must be unique: "${String(key.value)}" is there twice${placeOf(key.range?.[0], text)}`,
          )
        keys.add(key.value)
      }
    },
  })
}

function placeOf(at: number | undefined, text: string): string {
  return at === undefined ? '' : `, at line ${text.slice(0, at).split('\n').length}`
}
