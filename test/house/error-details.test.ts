/**
 * The details of errors: the library throws what `src/base/error-details.ts` declares, and `docs/errors.md` lists the
 * same.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { beforeAll, describe, expect, it } from 'vitest'
import { ERROR_CODES } from '../../src/base/errors.ts'
import { filesBelow, ROOT } from './sources.ts'

const DETAILS = join(ROOT, 'src/base/error-details.ts')
const CANARY = join(ROOT, 'src/base/canary.ts')
const CANARY_TEXT = `import { MillraceError } from './errors.ts'
export const right = new MillraceError('UNKNOWN_CHANNEL', 'x', { channel: 'a' })
export const wrong = [
  new MillraceError('UNKNOWN_CHANNEL', 'x'),
  new MillraceError('UNKNOWN_CHANNEL', 'x', { channel: 1 }),
  new MillraceError('UNKNOWN_CHANNEL', 'x', { channel: 'a', chanel: 'b' }),
]
`

function programOf(): ts.Program {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile) as { config: object }
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT)
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists } = host
  host.readFile = (name) => (name === CANARY ? CANARY_TEXT : readFile.call(host, name))
  host.fileExists = (name) => name === CANARY || fileExists.call(host, name)
  return ts.createProgram([...filesBelow('src', '.ts').map(({ path }) => join(ROOT, path)), CANARY], options, host)
}

/** The type of each code's details. */
function detailsIn(program: ts.Program): Map<string, ts.Type> {
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(DETAILS)
  const declared = source?.statements.find(
    (each) => ts.isInterfaceDeclaration(each) && each.name.text === 'DetailsByCode',
  )
  if (source === undefined || declared === undefined) expect.fail('there is no DetailsByCode')
  return new Map(
    checker
      .getTypeAtLocation(declared)
      .getProperties()
      .map((code) => [code.name, checker.getTypeOfSymbolAtLocation(code, source)]),
  )
}

/**
 * What is wrong with the details that a file throws, one sentence each. Codes and details that are only known at run
 * time are not checked.
 */
function faultsOf(file: ts.SourceFile, program: ts.Program, types: ReadonlyMap<string, ts.Type>): string[] {
  const checker = program.getTypeChecker()
  const faults: string[] = []
  const judge = (thrown: ts.NewExpression): void => {
    const [code, , details] = thrown.arguments ?? []
    const wanted = code !== undefined && ts.isStringLiteral(code) ? types.get(code.text) : undefined
    if (wanted === undefined) return
    const where = `${file.fileName.slice(ROOT.length)}:${file.getLineAndCharacterOfPosition(thrown.getStart()).line + 1}: ${(code as ts.StringLiteral).text}`
    const required = wanted.getProperties().filter((each) => (each.flags & ts.SymbolFlags.Optional) === 0)
    if (details === undefined) {
      if (required.length > 0) faults.push(`${where} has no details`)
      return
    }
    const type = checker.getTypeAtLocation(details)
    if (checker.getIndexInfosOfType(type).length > 0) return
    const members = wanted.getProperties().map(({ name }) => name)
    const unknown = type.getProperties().filter(({ name }) => !members.includes(name))
    faults.push(...unknown.map(({ name }) => `${where} has "${name}", which error-details.ts does not list`))
    if (unknown.length === 0 && !checker.isTypeAssignableTo(type, wanted))
      faults.push(`${where} has ${checker.typeToString(type)}`)
  }
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) && node.expression.getText() === 'MillraceError') judge(node)
    ts.forEachChild(node, visit)
  }
  visit(file)
  return faults
}

/** The table of the page. */
function tableOf(types: ReadonlyMap<string, ts.Type>): string {
  const rows = Object.keys(ERROR_CODES).map((code) => {
    const members = types.get(code)?.getProperties() ?? []
    const names = members.map(({ name, flags }) => `\`${name}${(flags & ts.SymbolFlags.Optional) === 0 ? '' : '?'}\``)
    return `| \`${code}\` | ${names.join(', ') || 'nothing'} |`
  })
  return `| Code | Members of \`details\` |\n| --- | --- |\n${rows.join('\n')}\n`
}

describe('the details of errors', () => {
  let program: ts.Program
  let types: Map<string, ts.Type>
  beforeAll(() => {
    program = programOf()
    types = detailsIn(program)
  }, 120_000)

  it('are declared for every code', () => {
    expect([...types.keys()].sort()).toEqual(Object.keys(ERROR_CODES).sort())
  })

  it('are thrown as they are declared', () => {
    const sources = program
      .getSourceFiles()
      .filter(({ fileName }) => fileName.startsWith(join(ROOT, 'src/')) && fileName !== CANARY)
    expect(sources.length).toBeGreaterThan(100)
    expect(sources.flatMap((file) => faultsOf(file, program, types))).toEqual([])
  }, 120_000)

  it('are those of docs/errors.md', () => {
    expect(readFileSync(join(ROOT, 'docs/errors.md'), 'utf8')).toContain(tableOf(types))
  })

  it('the check finds what is missing, of another type, or not declared', () => {
    const canary = program.getSourceFile(CANARY)
    expect(canary === undefined ? [] : faultsOf(canary, program, types)).toEqual([
      'src/base/canary.ts:4: UNKNOWN_CHANNEL has no details',
      'src/base/canary.ts:5: UNKNOWN_CHANNEL has { channel: number; }',
      'src/base/canary.ts:6: UNKNOWN_CHANNEL has "chanel", which error-details.ts does not list',
    ])
  })
})
