import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CESQL_PARSER, cesqlParserSource } from '../../../scripts/cesql-parser.ts'

describe('the parser of CloudEvents SQL', () => {
  it('is what `npm run grammar` makes of the grammar', () => {
    expect(readFileSync(CESQL_PARSER, 'utf8')).toBe(cesqlParserSource())
  })

  it('changes when the grammar changes', () => {
    expect(cesqlParserSource('Start = "a" / "b"')).not.toBe(cesqlParserSource('Start = "a"'))
  })
})
