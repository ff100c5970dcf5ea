/** The parser of CloudEvents SQL, as Peggy generates it from the grammar. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import peggy from 'peggy'

const GRAMMAR = fileURLToPath(new URL('../src/pattern/expression/cesql.peggy', import.meta.url))

export const CESQL_PARSER: string = fileURLToPath(
  new URL('../src/pattern/expression/cesql-parser.generated.ts', import.meta.url),
)

const HEAD = `// @ts-nocheck
/** Written by \`npm run grammar\` from cesql.peggy: change that. Only expression-parser.ts imports this. */
export const cesqlParser: { parse(text: string, options: { readonly depthMax: number; readonly likeCharsMax: number }): unknown } =
`

/** The complete content of the generated file. */
export function cesqlParserSource(grammar: string = readFileSync(GRAMMAR, 'utf8')): string {
  return `${HEAD}${peggy.generate(grammar, { output: 'source', format: 'bare' }).trim()}\n`
}
