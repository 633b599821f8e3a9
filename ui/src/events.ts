// Tells when something happens to an experiment, by the controller's server-sent events. Where it has none, it never tells: whoever shows
// something asks again and again anyway, only more often then. One stream for the whole page, and none while nobody looks.
//
// Not an `EventSource`: that cannot send the token.

import { token } from './token'

/** Milliseconds before listening again. */
const PAUSE = 3_000

type Listener = (experiment: string) => void
const listeners = new Set<Listener>()
let stream: AbortController | undefined
let hears = false
let has = true
let last = ''

/** Whether events come: then nobody need ask often. */
export const isHearing = (): boolean => hears

/** Hears of what happens: of which experiment, or of some (an empty name) when something may have been missed. */
export function onNews(listener: Listener): () => void {
  listeners.add(listener)
  start()
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) stop()
  }
}

function start(): void {
  if (stream || !has || document.hidden) return
  stream = new AbortController()
  void listen(stream.signal)
}

function stop(): void {
  stream?.abort()
  stream = undefined
  hears = false
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) stop()
  else if (listeners.size > 0) start()
})
token.on(() => {
  stop()
  if (listeners.size > 0) start()
})

async function listen(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const headers = new Headers({ accept: 'text/event-stream' })
      if (token.get()) headers.set('authorization', `Bearer ${token.get()}`)
      if (last) headers.set('last-event-id', last)
      const response = await fetch('/v1/events', { headers, signal, cache: 'no-store', credentials: 'omit' })
      if (response.status === 404 || response.status === 405) {
        has = false
        return
      }
      if (response.ok && response.body) {
        hears = true
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
        const feed = events((event, id, data) => {
          if (id) last = id
          const of = event === 'ready' ? '' : ((JSON.parse(data) as { name?: string }).name ?? '')
          if (!signal.aborted) listeners.forEach((listener) => listener(of))
        })
        for (let read = await reader.read(); !read.done; read = await reader.read()) feed(read.value)
      }
    } catch {
      // It broke off, or was not one at all: listen again later. What is shown is asked for meanwhile.
    }
    if (signal.aborted) return
    hears = false
    await new Promise((resolve) => setTimeout(resolve, PAUSE))
  }
}

/** Takes a stream's pieces, wherever they are cut, and tells each event. Lines end as the controller ends them. */
export function events(tell: (event: string, id: string, data: string) => void): (piece: string) => void {
  let rest = ''
  return (piece) => {
    const blocks = (rest + piece).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const block of blocks) {
      const fields = new Map<string, string>()
      for (const line of block.split('\n')) {
        const colon = line.indexOf(':')
        if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).replace(/^ /, ''))
      }
      const event = fields.get('event')
      if (event) tell(event, fields.get('id') ?? '', fields.get('data') ?? '{}')
    }
  }
}
