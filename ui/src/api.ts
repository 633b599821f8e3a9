// The one place that talks to the controller: requests, what their errors mean, and what stays live.
//
// Whoever shows something live only knows `useLive`. It asks when the controller's events say that something happened; where it has none, every so
// often; and never while nobody looks. Nothing is kept: an `ETag` of the API says whether somebody changed an experiment, not whether it counted.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { isHearing, onNews } from './events'
import { token } from './token'

export { token }

/** Longest wait between polls, while the controller does not answer or events say when to ask, in milliseconds. */
const LONGEST_WAIT = 15_000
/** Most pages of a list that are read: more experiments than anybody looks through. */
const MOST_PAGES = 20
/** Longest wait for an answer, in milliseconds: then it counts as lost. */
const PATIENCE = 20_000
/** … and for one that takes computing: the controller gives itself ten seconds, after those of whoever came before. */
const PATIENCE_TO_COMPUTE = 60_000

export interface Detail {
  line?: number
  column?: number
  path: string
  message: string
}

/** Why something was not done: what the controller said, and what to do. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly problems: Detail[] = [],
    readonly advice: string = '',
    /** It says when to ask again. */
    readonly passes = false,
  ) {
    super(detail)
  }

  /** Whether a write may have been done although this is what became of it: no answer came, the controller failed at it, or is still at it. */
  get unknown(): boolean {
    return this.status === 0 || this.status >= 500 || this.status === 408 || (this.status === 409 && this.passes)
  }

  /** Whether the controller did not even look at what was asked: this says nothing of an attempt before it. */
  get unseen(): boolean {
    return [401, 403, 429].includes(this.status)
  }
}

/** Whatever was thrown, as what is told of it. */
export const asApiError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : new ApiError(0, String(error))

const unauthorized = new Set<() => void>()
/** Hears when the controller wants a token, or another one. */
export function onUnauthorized(listener: () => void): () => void {
  unauthorized.add(listener)
  return () => {
    unauthorized.delete(listener)
  }
}

function advice(status: number): string {
  switch (status) {
    case 0:
      return 'Is the controller running, and can this machine reach it? This page tries again by itself.'
    case 401:
      return 'Enter a token of the role viewer or operator.'
    case 403:
      return 'Reading takes the role viewer; changing anything takes the role operator. Ask whoever runs the controller for such a token.'
    case 404:
      return 'It may have been deleted. The list of experiments shows what there is.'
    case 409:
    case 412:
      return 'Look at how the experiment stands now, then decide anew.'
    case 429:
      return 'Wait a little, then try again.'
    case 503:
      return 'This passes: try again in a few seconds. If it does not, the controller’s log says why.'
    default:
      return status >= 500 ? 'The controller’s log says more.' : ''
  }
}

interface Answer<T> {
  value: T | undefined
  text: string
  /** Of an experiment: what `ifMatch` takes. */
  tag: string
}

async function request<T>(path: string, init: RequestInit = {}, patience = PATIENCE): Promise<Answer<T>> {
  const headers = new Headers(init.headers)
  const secret = token.get()
  if (secret) headers.set('authorization', `Bearer ${secret}`)
  // Not `AbortSignal.timeout`: that and the caller's own signal can be joined only in newer browsers.
  const ended = new AbortController()
  const timer = setTimeout(() => ended.abort(), patience)
  const given = (): void => ended.abort()
  init.signal?.addEventListener('abort', given)
  let response: Response
  let text: string
  try {
    init.signal?.throwIfAborted()
    const how = { cache: 'no-store', credentials: 'omit', redirect: 'error', signal: ended.signal } as const
    response = await fetch(path, { ...init, headers, ...how })
    text = await response.text()
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new ApiError(0, 'The controller does not answer.', [], advice(0))
  } finally {
    clearTimeout(timer)
    init.signal?.removeEventListener('abort', given)
  }
  let body: unknown
  try {
    body = text ? JSON.parse(text) : undefined
  } catch {
    body = undefined
  }
  if (!response.ok) {
    if (response.status === 401) unauthorized.forEach((listener) => listener())
    const problem = (body ?? {}) as { detail?: string; title?: string; problems?: Detail[] }
    const said = problem.detail ?? problem.title ?? `The controller answered ${response.status} without saying why.`
    const passes = response.headers.has('retry-after')
    throw new ApiError(response.status, said, problem.problems ?? [], advice(response.status), passes)
  }
  return { value: body as T, text, tag: response.headers.get('etag') ?? '' }
}

/** Reads something once. */
export async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request<T>(path, signal ? { signal } : {})).value as T
}

/** Reads something once, with its tag. */
export async function readTagged<T>(path: string): Promise<{ value: T; tag: string }> {
  const { value, tag } = await request<T>(path)
  return { value: value as T, tag }
}

/** Reads something, all pages of it where it is a list that comes in pages. */
export async function whole<T>(path: string, signal?: AbortSignal): Promise<T> {
  const first = await read<T & { next?: string }>(path, signal)
  const key = Object.keys(first).find((name) => Array.isArray((first as Record<string, unknown>)[name]))
  if (path !== paths.experiments || !key) return first
  const all = first as unknown as Record<string, unknown[]>
  for (let next = first.next, pages = 1; next && pages < MOST_PAGES; pages += 1) {
    const page = await read<Record<string, unknown[]> & { next?: string }>(
      `${path}?cursor=${encodeURIComponent(next)}`,
      signal,
    )
    all[key] = [...(all[key] ?? []), ...(page[key] ?? [])]
    next = page.next
  }
  return first
}

/** Reads something that is no JSON. */
export async function text(path: string): Promise<string> {
  return (await request<unknown>(path)).text
}

/** How something is asked to be done. */
export interface How {
  signal?: AbortSignal
  /** The same for each attempt at one act, so that it is done once however often it is sent: `newKey`. */
  key?: string
  /** Only if the experiment of the document has this tag … */
  ifMatch?: string
  /** … or if there is none of its name. */
  ifNone?: boolean
  /** It is computed, and not looked up. */
  computes?: boolean
}

/** A key for one act. Not `randomUUID`, which browsers lack on pages without TLS. */
export const newKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')

/** Asks for something to be done. */
export async function send<T>(
  method: 'POST' | 'DELETE',
  path: string,
  body?: object | string,
  { signal, key, ifMatch, ifNone, computes }: How = {},
): Promise<T> {
  const headers: Record<string, string> = { 'weir-actor': 'dashboard' }
  if (key) headers['idempotency-key'] = key
  if (ifMatch) headers['if-match'] = ifMatch
  if (ifNone) headers['if-none-match'] = '*'
  const init: RequestInit = { method, headers }
  if (body) {
    init.body = typeof body === 'string' ? body : JSON.stringify(body)
    headers['content-type'] = typeof body === 'string' ? 'application/yaml' : 'application/json'
  }
  if (signal) init.signal = signal
  return (await request<T>(path, init, computes ? PATIENCE_TO_COMPUTE : PATIENCE)).value as T
}

export interface Live<T> {
  /** The last that was read; it stays while the controller does not answer. */
  data: T | undefined
  /** Why the last attempt failed. */
  error: ApiError | undefined
  /** Asks now. */
  refresh: () => void
}

/** What the controller says at a path, again and again, at most every so many milliseconds. */
export function useLive<T>(path: string | null, everyMs: number): Live<T> {
  const [state, setState] = useState<{ path: string | null; data?: T; error?: ApiError | undefined }>({ path })
  const ask = useRef<() => void>(() => {})
  useEffect(() => {
    if (path === null) return
    let timer: ReturnType<typeof setTimeout> | undefined
    let failures = 0
    let busy = false
    // Somebody asked, or something happened, while an answer was on its way, which may be older than that.
    let again: 'no' | 'now' | 'soon' = 'no'
    let asked = 0
    const soon = (): void => later(Math.max(0, asked + everyMs - Date.now()))
    const controller = new AbortController()
    const later = (ms: number): void => {
      clearTimeout(timer)
      timer = setTimeout(poll, ms)
    }
    const poll = async (): Promise<void> => {
      clearTimeout(timer)
      if (document.hidden) return
      if (busy) {
        again = 'now'
        return
      }
      busy = true
      asked = Date.now()
      try {
        const data = await whole<T>(path, controller.signal)
        failures = 0
        setState({ path, data })
      } catch (error) {
        if (controller.signal.aborted) return
        failures += 1
        const told = asApiError(error)
        setState((known) => (known.path === path ? { ...known, error: told } : { path, error: told }))
      } finally {
        busy = false
      }
      if (controller.signal.aborted) return
      const next = again
      again = 'no'
      if (next === 'now') return void poll()
      if (next === 'soon') return soon()
      const longest = Math.max(LONGEST_WAIT, everyMs)
      later(failures ? Math.min(everyMs * 2 ** failures, longest) : isHearing() ? longest : everyMs)
    }
    ask.current = () => {
      void poll()
    }
    const seen = (): void => {
      if (!document.hidden) void poll()
    }
    document.addEventListener('visibilitychange', seen)
    const forget = token.on(() => {
      void poll()
    })
    // Of a list, and of a service, everything is news.
    const of = /^\/v1\/experiments\/([^/?]+)/.exec(path)?.[1]
    const deaf = onNews((experiment) => {
      if (of && experiment && of !== encodeURIComponent(experiment)) return
      if (!busy) soon()
      else if (again === 'no') again = 'soon'
    })
    void poll()
    return () => {
      controller.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', seen)
      forget()
      deaf()
    }
  }, [path, everyMs])
  const current = state.path === path
  return {
    data: current ? state.data : undefined,
    error: current ? state.error : undefined,
    refresh: useCallback(() => ask.current(), []),
  }
}

export const paths = {
  experiments: '/v1/experiments',
  whoami: '/v1/whoami',
  experiment: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}`,
  decisions: (name: string, limit: number): string =>
    `/v1/experiments/${encodeURIComponent(name)}/decisions?limit=${limit}`,
  explanation: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/explanation`,
  distributions: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/distributions`,
  trend: (service: string): string => `/v1/services/${encodeURIComponent(service)}/trend`,
  commands: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/commands`,
}
