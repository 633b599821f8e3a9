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
  ) {
    super(detail)
  }
}

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
}

async function request<T>(path: string, init: RequestInit = {}): Promise<Answer<T>> {
  const headers = new Headers(init.headers)
  const secret = token.get()
  if (secret) headers.set('authorization', `Bearer ${secret}`)
  let response: Response
  try {
    response = await fetch(path, { ...init, headers, cache: 'no-store', credentials: 'omit', redirect: 'error' })
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new ApiError(0, 'The controller does not answer.', [], advice(0))
  }
  const text = await response.text()
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
    throw new ApiError(response.status, said, problem.problems ?? [], advice(response.status))
  }
  return { value: body as T, text }
}

/** Reads something once. */
export async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request<T>(path, signal ? { signal } : {})).value as T
}

/** Reads something, all pages of it where it is a list that comes in pages. */
async function whole<T>(path: string, signal: AbortSignal): Promise<T> {
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

/** Asks for something to be done. */
export async function send<T>(
  method: 'POST' | 'DELETE',
  path: string,
  body?: object | string,
  signal?: AbortSignal,
): Promise<T> {
  const init: RequestInit = { method, headers: { 'weir-actor': 'dashboard' } }
  if (typeof body === 'string') {
    init.body = body
    init.headers = { ...init.headers, 'content-type': 'application/yaml' }
  } else if (body) {
    init.body = JSON.stringify(body)
    init.headers = { ...init.headers, 'content-type': 'application/json' }
  }
  if (signal) init.signal = signal
  return (await request<T>(path, init)).value as T
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
    let asked = 0
    const controller = new AbortController()
    const later = (ms: number): void => {
      clearTimeout(timer)
      timer = setTimeout(poll, ms)
    }
    const poll = async (): Promise<void> => {
      clearTimeout(timer)
      if (busy || document.hidden) return
      busy = true
      asked = Date.now()
      try {
        const data = await whole<T>(path, controller.signal)
        failures = 0
        setState({ path, data })
      } catch (error) {
        if (controller.signal.aborted) return
        failures += 1
        const told = error instanceof ApiError ? error : new ApiError(0, String(error))
        setState((known) => (known.path === path ? { ...known, error: told } : { path, error: told }))
      } finally {
        busy = false
      }
      if (controller.signal.aborted) return
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
      if (!of || !experiment || of === encodeURIComponent(experiment)) later(Math.max(0, asked + everyMs - Date.now()))
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
  experiment: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}`,
  decisions: (name: string, limit: number): string =>
    `/v1/experiments/${encodeURIComponent(name)}/decisions?limit=${limit}`,
  explanation: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/explanation`,
  distributions: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/distributions`,
  trend: (service: string): string => `/v1/services/${encodeURIComponent(service)}/trend`,
  commands: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/commands`,
}
