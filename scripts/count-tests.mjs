/** Prints `passed failed` from vitest's JSON report. A file that could not run counts as one failed test. */
import { readFileSync } from 'node:fs'

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const broken = report.testResults.filter(
  (file) => file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'),
)
console.log(report.numPassedTests, report.numFailedTests + broken.length)
