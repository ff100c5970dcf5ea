/** Write the parser of CloudEvents SQL from its grammar: `npm run grammar`. A test fails when the two differ. */
import { writeFileSync } from 'node:fs'
import { CESQL_PARSER, cesqlParserSource } from './cesql-parser.ts'

writeFileSync(CESQL_PARSER, cesqlParserSource())
