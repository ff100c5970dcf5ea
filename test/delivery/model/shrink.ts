/** Shortens a history that breaks a rule, as long as it still breaks the same rule. */

import type { Rule } from './handing-faults.ts'
import type { History, Step } from './history.ts'
import { type Outcome, play } from './player.ts'

async function breaks(history: History, rule: Rule): Promise<boolean> {
  return (await play(history)).broken?.rule === rule
}

/** Delta debugging: leave out parts of the history, first halves, then smaller parts. */
export async function shrink(history: History, rule: Rule): Promise<History> {
  let steps: readonly Step[] = history.steps
  for (let size = Math.ceil(steps.length / 2); size >= 1; ) {
    let shorter = false
    for (let at = 0; at < steps.length; ) {
      const without = [...steps.slice(0, at), ...steps.slice(at + size)]
      if (await breaks({ ...history, steps: without }, rule)) {
        steps = without
        shorter = true
      } else at += size
    }
    if (size > 1) size = Math.ceil(size / 2)
    else if (!shorter) break
  }
  return { ...history, steps: await fewerEvents(history, steps, rule) }
}

/** Leave out events of a publish that are not needed. */
async function fewerEvents(history: History, steps: readonly Step[], rule: Rule): Promise<readonly Step[]> {
  let best = steps
  for (let at = 0; at < best.length; at++) {
    for (let left = 0; ; ) {
      const step = best[at] as Step
      if (step.do !== 'publish' || step.events.length < 2 || left >= step.events.length) break
      const fewer = best.with(at, { ...step, events: step.events.filter((_, index) => index !== left) })
      if (await breaks({ ...history, steps: fewer }, rule)) best = fewer
      else left++
    }
  }
  return best
}

/** A short report of a history that breaks a rule. */
export async function report(seed: number, history: History, outcome: Outcome): Promise<string> {
  const rule = outcome.broken?.rule as Rule
  const short = await shrink(history, rule)
  const { broken, trace } = await play(short)
  const { setup } = short
  return [
    `seed ${seed}: ${broken?.rule}: ${broken?.message}`,
    `${setup.near ? 'records as over servers' : 'records as embedded'}; ${setup.channels.map(({ name, kind, latestByKey }) => `${name}: ${kind}${latestByKey ? ' latest by key' : ''}`).join(', ')}`,
    ...setup.consumers.map(
      ({ name, wants, onDead, credit, perKey, attemptsMax, from }) =>
        `${name}: ${JSON.stringify({ wants: wants.map(({ type }) => type), onDead, credit, perKey, attemptsMax, from })}`,
    ),
    ...trace,
  ].join('\n')
}
