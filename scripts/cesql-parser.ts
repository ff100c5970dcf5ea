/** The parser of CloudEvents SQL, as Peggy makes it of its grammar. */
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

/** The whole file, as it must be. */
export function cesqlParserSource(grammar: string = readFileSync(GRAMMAR, 'utf8')): string {
  return `${HEAD}${peggy.generate(grammar, { output: 'source', format: 'bare' }).trim()}\n`
}
