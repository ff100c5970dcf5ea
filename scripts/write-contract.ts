/** Write the lists of scenarios into docs/contract.md: `npm run docs:contract`. A test fails when the two differ. */
import { readFileSync, writeFileSync } from 'node:fs'
import { CONTRACT_PAGE, withScenarios } from './contract-page.ts'

writeFileSync(CONTRACT_PAGE, withScenarios(readFileSync(CONTRACT_PAGE, 'utf8')))
