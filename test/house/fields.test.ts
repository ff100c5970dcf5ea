/** A field of a class is written by its own object only: it is `#private`, or public and `readonly`. */
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { filesBelow, type SourceFile } from './sources.ts'

/** The rooms in which this holds. The list may only become longer. */
const ROOMS = ['delivery']

/** Fields that an interface of another room lets others write: `Slotted` of base, `Delivery` of broker. */
const SHARED = ['HeldDelivery.slot', 'HeldDelivery.attachment']

/** Public fields that are not `readonly`, as `Class.field`. */
function writableFields(file: SourceFile): string[] {
  const source = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ES2023, true)
  const found: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyDeclaration(node) && ts.isIdentifier(node.name) && ts.isClassLike(node.parent)) {
      const readonly = node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ReadonlyKeyword) ?? false
      if (!readonly) found.push(`${node.parent.name?.text ?? 'class'}.${node.name.text}`)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

describe('fields', () => {
  it.each(ROOMS)('no object of %s has a field that other objects can write', (room) => {
    const found = filesBelow(`src/${room}`, '.ts').flatMap(writableFields)
    expect(found.filter((field) => !SHARED.includes(field))).toEqual([])
  })

  it('the check finds a field that others can write, and no other', () => {
    const text =
      'export class A {\n  readonly a = 1\n  #b = 2\n  c = 3\n  get d(): number {\n    return this.#b\n  }\n}'
    expect(writableFields({ path: 'a.ts', text })).toEqual(['A.c'])
  })
})
