/** A client of the gateway's event streams, for tests. */
interface Frame {
  readonly id?: string
  readonly event?: string
  readonly data?: { readonly id: string }
}

/** A client of Server-Sent Events that keeps what it received. */
export class EventClient {
  readonly frames: Frame[] = []
  readonly comments: string[] = []
  readonly #abort = new AbortController()
  readonly done: Promise<void>
  status = 0

  constructor({ url }: { readonly url: string }, path: string, headers: Record<string, string> = {}) {
    this.done = this.#run(`${url}${path}`, headers)
    this.done.catch(() => {})
  }

  async #run(url: string, headers: Record<string, string>): Promise<void> {
    const response = await fetch(url, { headers, signal: this.#abort.signal })
    this.status = response.status
    let text = ''
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      text += new TextDecoder().decode(chunk)
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        this.#frame(text.slice(0, end))
        text = text.slice(end + 2)
      }
    }
  }

  #frame(text: string): void {
    const frame: Record<string, unknown> = {}
    for (const line of text.split('\n')) {
      const [, name, value] = /^([a-z]*): ?(.*)$/.exec(line) ?? []
      if (name === '') this.comments.push(value as string)
      else if (name === 'data') frame['data'] = JSON.parse(value as string)
      else if (name !== undefined) frame[name] = value
    }
    this.frames.push(frame as Frame)
  }

  /** Each event that arrived: its channel, if the stream names it, and its id. */
  get came(): (readonly [channel: string | undefined, id: string])[] {
    return this.frames.flatMap(({ event, data }) => (data === undefined ? [] : [[event, data.id] as const]))
  }
  get ids(): string[] {
    return this.frames.flatMap((frame) => frame.data?.id ?? [])
  }
  get lastEventId(): string {
    return this.frames.findLast((frame) => frame.id !== undefined)?.id ?? ''
  }
  close(): void {
    this.#abort.abort()
  }
}
