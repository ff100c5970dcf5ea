/** Asks for a token when the gateway requires one. */
import { type FormEvent, type ReactNode, useId, useState } from 'react'
import { api, token } from '../api/client.ts'
import type { Description } from '../api/types.ts'
import { useAction } from '../parts/async.ts'
import { Problem } from '../parts/notice.tsx'

export function SignIn(): ReactNode {
  const [value, setValue] = useState('')
  const { busy, problem, run } = useAction()
  const field = useId()
  const enter = (event: FormEvent): void => {
    event.preventDefault()
    token.set(value.trim())
    run(async () => {
      await api<Description>({ path: 'api/describe' })
      token.set(value.trim())
    })
  }
  return (
    <form className="sign-in card" onSubmit={enter}>
      <h1>This gateway asks for a token</h1>
      <label htmlFor={field}>Token</label>
      <input
        id={field}
        type="password"
        autoComplete="off"
        value={value}
        onChange={(event) => setValue(event.target.value)}
      />
      <p className="muted">
        It stays in this tab. Make one on the server: <code>millrace tokens add console --read '&gt;'</code>
      </p>
      {problem !== null && <Problem of={problem} />}
      <button type="submit" className="primary" disabled={busy || value.trim() === ''}>
        Use it
      </button>
    </form>
  )
}
