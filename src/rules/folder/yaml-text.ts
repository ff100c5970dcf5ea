/**
 * Parses YAML in a time that is proportional to its size: deep nesting is refused first, and keys are compared through
 * a set.
 */
import { type Document, isScalar, parseAllDocuments, visit } from 'yaml'

const DEPTH_MAX = 100
/** Nested blocks that begin on one line: `- - - a`. */
const BLOCKS_ON_A_LINE = new RegExp(`(?:[-?:][ \\t]+){${DEPTH_MAX}}`)

/**
 * The values of a text's documents. `maxAliasCount` limits aliases, so that a small text cannot stand for a large
 * value. @throws Error that says what is wrong, and where
 */
export function yamlValues(text: string, maxAliasCount: number): unknown[] {
  refuseDeep(text)
  return parseAllDocuments(text, { prettyErrors: true, uniqueKeys: false }).map((document: Document) => {
    const [error] = document.errors
    if (error !== undefined) throw error
    refuseDuplicateKeys(document, text)
    return document.toJS({ maxAliasCount }) as unknown
  })
}

/** Brackets inside strings are counted too: so many unclosed brackets do not occur in practice. */
function refuseDeep(text: string): void {
  let depth = 0
  for (const bracket of text.match(/[[\]{}]/g) ?? []) {
    depth = Math.max(0, depth + (bracket === '[' || bracket === '{' ? 1 : -1))
    if (depth > DEPTH_MAX) break
  }
  if (depth > DEPTH_MAX || BLOCKS_ON_A_LINE.test(text))
    throw new Error(`it is nested more than ${DEPTH_MAX} levels deep`)
}

function refuseDuplicateKeys(document: Document, text: string): void {
  visit(document, {
    Map: (_, { items }) => {
      const keys = new Set<unknown>()
      for (const { key } of items) {
        if (!isScalar(key)) continue
        if (keys.has(key.value))
          throw new Error(
            `map keys must be unique: "${String(key.value)}" is there twice${lineOf(key.range?.[0], text)}`,
          )
        keys.add(key.value)
      }
    },
  })
}

function lineOf(at: number | undefined, text: string): string {
  return at === undefined ? '' : `, at line ${text.slice(0, at).split('\n').length}`
}
