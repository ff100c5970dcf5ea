/**
 * Asks the worker for the positions of the parts. The page stays responsive with any number of parts, and only the
 * worker loads dagre.
 */
export interface LayoutAsked {
  readonly turn: number
  readonly parts: readonly { readonly id: string; readonly width: number; readonly height: number }[]
  readonly lines: readonly { readonly from: string; readonly to: string }[]
}

export type Places = Readonly<Record<string, { readonly x: number; readonly y: number }>>

export interface LayoutDone {
  readonly turn: number
  readonly places: Places
}

let worker: Worker | null = null
let turns = 0

export function layoutOf(asked: Omit<LayoutAsked, 'turn'>): Promise<Places> {
  const turn = ++turns
  worker ??= new Worker(new URL('./layout-worker.ts', import.meta.url), { type: 'module' })
  const its = worker
  return new Promise((resolve, reject) => {
    const take = ({ data }: MessageEvent<LayoutDone>): void => {
      if (data.turn !== turn) return
      its.removeEventListener('message', take)
      resolve(data.places)
    }
    its.addEventListener('message', take)
    its.addEventListener('error', () => reject(new Error('the layout failed')), { once: true })
    its.postMessage({ ...asked, turn })
  })
}
