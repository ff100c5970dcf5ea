/**
 * Shows an action as a `millrace` command and as a curl command, to copy. No token is copied: curl takes it from the
 * environment.
 */
import { type ReactNode, useState } from 'react'
import { type Call, token, urlOf } from '../api/client.ts'

/** A text as one word of a shell command. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./>-]+$/.test(text) && !text.includes('>') ? text : `'${text.replaceAll("'", "'\\''")}'`
}

export function curlOf(call: Call): string {
  const parts = ['curl']
  if (call.method !== undefined && call.method !== 'GET') parts.push('-X', call.method)
  if (token.get() !== null) parts.push('-H', '"authorization: Bearer $MILLRACE_TOKEN"')
  if (call.body !== undefined) {
    parts.push('-H', shellWord(`content-type: ${call.type ?? 'application/json'}`))
    parts.push('-d', shellWord(typeof call.body === 'string' ? call.body : JSON.stringify(call.body)))
  }
  return [...parts, shellWord(urlOf(call).href)].join(' ')
}

export function CopyAs({ command, call }: { readonly command?: string | undefined; readonly call: Call }): ReactNode {
  return (
    <span className="copies">
      {command !== undefined && <Copy text={command} label="Copy command" />}
      <Copy text={curlOf(call)} label="Copy curl" />
    </span>
  )
}

export function Copy({ text, label }: { readonly text: string; readonly label: string }): ReactNode {
  const [done, setDone] = useState(false)
  const copy = (): void => {
    void navigator.clipboard.writeText(text).then(() => {
      setDone(true)
      setTimeout(() => setDone(false), 1500)
    })
  }
  return (
    <button type="button" className="link copy" onClick={copy} title={text}>
      {done ? 'Copied' : label}
    </button>
  )
}
