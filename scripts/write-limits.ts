/** Write docs/limits.md from src/base/limits.ts: `npm run docs:limits`. A test fails when the two differ. */
import { writeFileSync } from 'node:fs'
import { LIMITS_PAGE, limitsPage } from './limits-page.ts'

writeFileSync(LIMITS_PAGE, limitsPage())
