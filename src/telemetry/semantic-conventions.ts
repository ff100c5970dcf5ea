/** `messaging.system`: the broker as its clients know it. */
export function systemOf(engine: string): string {
  return engine === 'memory' || engine === 'file' ? 'millrace' : engine
}
