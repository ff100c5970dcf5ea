/** Asks for the reason of a change of a rule, and makes the change. */
import type { ReactNode } from 'react'
import { api, type Call } from '../api/client.ts'
import { shellWord } from '../parts/commands.tsx'
import { Confirm } from '../parts/dialog.tsx'
import { plain } from '../parts/format.ts'
import type { RuleText } from './rule-text.ts'

const WORDS = {
  save: ['Save', 'It applies to events from now on, in all processes.'],
  enable: ['Enable', 'It matches events again, and events that wait in its queues are handled.'],
  disable: ['Disable', 'It matches no more events; events in its queues wait.'],
  remove: ['Remove', 'The rule and the events that wait for its actions are removed. Its history stays.'],
} as const

export type RuleChange = keyof typeof WORDS

export function ChangeRule({
  verb,
  name,
  rule,
  close,
  done,
}: {
  readonly verb: RuleChange
  readonly name: string
  readonly rule: RuleText | null
  readonly close: () => void
  readonly done: (removed: boolean) => void
}): ReactNode {
  const path = `api/rules/${encodeURIComponent(name)}`
  const call = (reason: string): Call =>
    verb === 'save'
      ? { method: 'PUT', path, query: { reason }, body: rule }
      : {
          method: verb === 'remove' ? 'DELETE' : 'POST',
          path: verb === 'remove' ? path : `${path}/${verb}`,
          query: { reason },
        }
  const command = (reason: string): string =>
    `millrace rules ${verb} ${shellWord(name)}${reason === '' ? '' : ` --reason ${shellWord(reason)}`}`
  return (
    <Confirm
      title={`${WORDS[verb][0]} ${plain(name, 80)}`}
      verb={WORDS[verb][0]}
      danger={verb === 'remove'}
      close={close}
      call={call}
      {...(verb !== 'save' && { command })}
      act={async (reason) => {
        await api(call(reason))
        done(verb === 'remove')
      }}
    >
      <p>{WORDS[verb][1]}</p>
    </Confirm>
  )
}
