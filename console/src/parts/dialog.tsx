/**
 * Dialogs with the browser's own `dialog` element: it keeps the focus inside, and Escape closes it. The focus returns
 * to where it was.
 */
import { type ReactNode, useEffect, useId, useRef, useState } from 'react'
import type { Call } from '../api/client.ts'
import { useAction } from './async.ts'
import { CopyAs } from './commands.tsx'
import { Problem } from './notice.tsx'

export function Dialog({
  title,
  close,
  children,
  wide = false,
}: {
  readonly title: string
  readonly close: () => void
  readonly children: ReactNode
  readonly wide?: boolean
}): ReactNode {
  const element = useRef<HTMLDialogElement>(null)
  const label = useId()
  useEffect(() => {
    const dialog = element.current
    const before = document.activeElement
    dialog?.showModal()
    return () => {
      dialog?.close()
      // The browser gives the focus back only to a dialog that is still in the page.
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={element}
      aria-labelledby={label}
      className={wide ? 'wide' : undefined}
      onClose={close}
      onCancel={close}
    >
      <h2 id={label}>{title}</h2>
      {children}
    </dialog>
  )
}

/**
 * Asks for a reason before something is destroyed or repeated. The reason is sent with the call, and is stored in the
 * audit trail.
 */
export function Confirm({
  title,
  children,
  verb,
  act,
  call,
  command,
  close,
  danger = false,
}: {
  readonly title: string
  readonly children: ReactNode
  readonly verb: string
  readonly act: (reason: string) => Promise<void>
  readonly call: (reason: string) => Call
  readonly command?: (reason: string) => string
  readonly close: () => void
  readonly danger?: boolean
}): ReactNode {
  const [reason, setReason] = useState('')
  const { busy, problem, run } = useAction()
  const field = useId()
  return (
    <Dialog title={title} close={close}>
      {children}
      <label htmlFor={field}>Reason, for the audit trail</label>
      <input id={field} value={reason} maxLength={500} onChange={(event) => setReason(event.target.value)} />
      {problem !== null && <Problem of={problem} />}
      <div className="row end">
        <CopyAs call={call(reason)} command={command?.(reason)} />
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button
          type="button"
          className={danger ? 'danger' : 'primary'}
          disabled={busy || reason.trim() === ''}
          onClick={() => run(async () => act(reason.trim()).then(close))}
        >
          {busy ? 'Working …' : verb}
        </button>
      </div>
    </Dialog>
  )
}
