/** The child process: makes one measurement of one case on one system, reports the figures, and ends. */

import type { Params } from './case.ts'
import { caseNamed } from './cases.ts'
import type { Setting } from './system.ts'
import { openerOf } from './systems.ts'

export interface Task {
  readonly caseName: string
  readonly subject: string
  readonly setting: Setting
  readonly params: Params
}

const task = JSON.parse(process.argv[2] ?? '{}') as Task
const figures = await caseNamed(task.caseName).measure(await openerOf(task.subject), task.setting, task.params)
const answer = { ...figures, peakRssMb: process.resourceUsage().maxRSS / 1024 }
if (process.send === undefined) console.log(answer)
else process.send(answer, () => process.exit())
