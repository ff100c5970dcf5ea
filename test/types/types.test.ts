/**
 * What must compile and what must not, with the project's own settings. Every line that must not compile is below
 * `@ts-expect-error`, which is itself an error if the line compiles.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { beforeAll, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const CANARY = join(import.meta.dirname, 'canary.ts')
const files = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  .map((name) => join(import.meta.dirname, name))

/** The compiler's messages, by file; `texts` replace the files on disk. */
function faultsOf(names: readonly string[], texts: ReadonlyMap<string, string>): Map<string, string[]> {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile) as { config: object }
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT)
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists } = host
  host.readFile = (name) => texts.get(name) ?? readFile.call(host, name)
  host.fileExists = (name) => texts.has(name) || fileExists.call(host, name)
  const program = ts.createProgram([...names], options, host)
  return new Map(
    names.map((name) => {
      const file = program.getSourceFile(name)
      const faults = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
      return [
        name,
        faults.map(
          ({ start = 0, messageText }) =>
            `${file?.getLineAndCharacterOfPosition(start).line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
        ),
      ]
    }),
  )
}

describe('types', () => {
  const bare = new Map(
    files.map((file) => [
      file.replace(/\.ts$/, '.bare.ts'),
      readFileSync(file, 'utf8').replaceAll('@ts-expect-error', 'that is'),
    ]),
  )
  const canary = new Map([
    [
      CANARY,
      '// @ts-expect-error nothing is wrong\nexport const fine: number = 1\nexport const wrong: number = "one"\n',
    ],
  ])
  let faults: Map<string, string[]>
  beforeAll(() => {
    faults = faultsOf([...files, ...bare.keys(), CANARY], new Map([...bare, ...canary]))
  }, 120_000)

  it.each(files.map((file) => [file.slice(ROOT.length + 1), file] as const))(
    '%s: what must compile does, what must not does not',
    (_name, file) => {
      expect(faults.get(file)).toEqual([])
      expect(readFileSync(file, 'utf8').split('@ts-expect-error').length).toBeGreaterThan(5)
    },
  )

  it.each([...bare.keys()].map((file) => [file.slice(ROOT.length + 1), file] as const))(
    '%s: each of them for itself',
    (_name, file) => {
      const wanted = (bare.get(file) as string)
        .split('\n')
        .flatMap((line, at) => (line.includes('// that is') ? [at + 1] : []))
      const found = new Set(faults.get(file)?.map((fault) => Number(fault.split(' ')[0])))
      expect(wanted.filter((line) => !found.has(line) && !found.has(line + 1))).toEqual([])
    },
  )

  it('the check finds both kinds of faults', () => {
    expect(faults.get(CANARY)).toEqual([
      "0 Unused '@ts-expect-error' directive.",
      "2 Type 'string' is not assignable to type 'number'.",
    ])
  })
})
