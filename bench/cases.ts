/** The cases, in the order of the table. */
import type { Case } from './case.ts'
import { backlog } from './cases/backlog.ts'
import { capacity } from './cases/capacity.ts'
import { ceilings } from './cases/ceilings.ts'
import { endToEnd } from './cases/end-to-end.ts'
import { engines } from './cases/engines.ts'
import { fanOut } from './cases/fan-out.ts'
import { growth } from './cases/growth.ts'
import { idle } from './cases/idle.ts'
import { latency } from './cases/latency.ts'
import { memory } from './cases/memory.ts'
import { middleware } from './cases/middleware.ts'
import { opening } from './cases/opening.ts'
import { patterns } from './cases/patterns.ts'
import { processes } from './cases/processes.ts'
import { publish } from './cases/publish.ts'
import { remote } from './cases/remote.ts'
import { roundTrip } from './cases/round-trip.ts'
import { rules } from './cases/rules.ts'
import { state } from './cases/state.ts'
import { telemetry } from './cases/telemetry.ts'

export const CASES: readonly Case[] = [
  ceilings,
  publish,
  endToEnd,
  roundTrip,
  fanOut,
  middleware,
  state,
  telemetry,
  latency,
  backlog,
  engines,
  remote,
  processes,
  capacity,
  memory,
  opening,
  idle,
  growth,
  patterns,
  rules,
]

export function caseNamed(name: string): Case {
  const found = CASES.find((one) => one.name === name)
  if (found === undefined)
    throw new Error(`no case is named "${name}": there are ${CASES.map((one) => one.name).join(', ')}`)
  return found
}
