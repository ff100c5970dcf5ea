/**
 * Next calls this once when the server starts: consumers run from then on, not only from the first request.
 *
 * Start Next with NEXT_MANUAL_SIG_HANDLE=true. Otherwise it ends the process before the broker has closed.
 */
export async function register(): Promise<void> {
  if (process.env['NEXT_RUNTIME'] !== 'nodejs') return
  const { millrace } = await import('./millrace.ts')
  const { close } = await millrace()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void close().finally(() => process.exit(0)))
}
