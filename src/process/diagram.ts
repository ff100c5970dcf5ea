/** A process as a Mermaid diagram: what begins, continues and ends an instance. */
import type { ProcessPlan } from './process-plan.ts'

export function diagramOf({ byType, timers }: ProcessPlan): string {
  const lines = ['stateDiagram-v2']
  for (const [type, { start, step }] of byType) {
    if (start !== null) lines.push(`  [*] --> active : ${type}`)
    if (step !== null) lines.push(`  active --> active : ${type}`)
  }
  for (const name of timers.keys()) lines.push(`  active --> active : timer ${name}`)
  lines.push('  active --> [*] : done')
  return `${lines.join('\n')}\n`
}
