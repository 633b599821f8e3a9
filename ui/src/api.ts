// The one place that talks to the controller: requests, what their errors mean, the token, and what stays live.
//
// Live data is polled: one request after the other, with the revision of what is known, none while nobody looks. Whoever shows it only
// knows `useLive`, so that events from the server can take the place of polling here alone.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks'

const TOKEN = 'weir-token'
/** Longest wait between polls while the controller does not answer, in milliseconds. */
const LONGEST_WAIT = 15_000

export interface Detail { line?: number, column?: number, path: string, message: string }

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

const listeners = new Set<() => void>()

export const token = {
  get: (): string => sessionStorage.getItem(TOKEN) ?? '',
  set(value: string): void {
    if (value) sessionStorage.setItem(TOKEN, value)
    else sessionStorage.removeItem(TOKEN)
    listeners.forEach((listener) => listener())
  },
  /** Hears of every change. */
  on(listener: () => void): () => void {
    listeners.add(listener)
    return () => { listeners.delete(listener) }
  },
}

const unauthorized = new Set<() => void>()
/** Hears when the controller wants a token, or another one. */
export function onUnauthorized(listener: () => void): () => void {
  unauthorized.add(listener)
  return () => { unauthorized.delete(listener) }
}

function advice(status: number): string {
  switch (status) {
    case 0: return 'Is the controller running, and can this machine reach it? This page tries again by itself.'
    case 401: return 'Enter a token of the role viewer or operator.'
    case 403: return 'Reading takes the role viewer; changing anything takes the role operator. Ask whoever runs the controller for such a token.'
    case 404: return 'It may have been deleted. The list of experiments shows what there is.'
    case 409: return 'Look at how the experiment stands now, then decide anew.'
    case 429: return 'Wait a little, then try again.'
    case 503: return 'This passes: try again in a few seconds. If it does not, the controller’s log says why.'
    default: return status >= 500 ? 'The controller’s log says more.' : ''
  }
}

interface Answer<T> { status: number, etag: string | null, value: T | undefined, text: string }

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
  if (response.status === 304) return { status: 304, etag: null, value: undefined, text: '' }
  const text = await response.text()
  let body: unknown
  try {
    body = text ? JSON.parse(text) : undefined
  } catch {
    body = undefined
  }
  if (!response.ok) {
    if (response.status === 401) unauthorized.forEach((listener) => listener())
    const problem = (body ?? {}) as { detail?: string, title?: string, problems?: Detail[] }
    const said = problem.detail ?? problem.title ?? `The controller answered ${response.status} without saying why.`
    throw new ApiError(response.status, said, problem.problems ?? [], advice(response.status))
  }
  return { status: response.status, etag: response.headers.get('etag'), value: body as T, text }
}

/** Reads something once. */
export async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request<T>(path, signal ? { signal } : {})).value as T
}

/** Reads something that is no JSON. */
export async function text(path: string): Promise<string> {
  return (await request<unknown>(path)).text
}

/** Asks for something to be done. */
export async function send<T>(method: 'POST' | 'DELETE', path: string, body?: object | string, signal?: AbortSignal): Promise<T> {
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
  const [state, setState] = useState<{ path: string | null, data?: T, error?: ApiError | undefined }>({ path })
  const ask = useRef<() => void>(() => {})
  useEffect(() => {
    if (path === null) return
    let timer: ReturnType<typeof setTimeout> | undefined
    let etag: string | null = null
    let failures = 0
    let busy = false
    const controller = new AbortController()
    const poll = async (): Promise<void> => {
      clearTimeout(timer)
      if (busy || document.hidden) return
      busy = true
      try {
        const headers: Record<string, string> = etag ? { 'if-none-match': etag } : {}
        const answer = await request<T>(path, { headers, signal: controller.signal })
        failures = 0
        if (answer.status !== 304) {
          etag = answer.etag
          setState({ path, data: answer.value as T })
        } else {
          setState((known) => known.error ? { ...known, error: undefined } : known)
        }
      } catch (error) {
        if (controller.signal.aborted) return
        failures += 1
        const told = error instanceof ApiError ? error : new ApiError(0, String(error))
        setState((known) => known.path === path ? { ...known, error: told } : { path, error: told })
      } finally {
        busy = false
      }
      if (!controller.signal.aborted) timer = setTimeout(poll, Math.min(everyMs * 2 ** Math.min(failures, 5), Math.max(LONGEST_WAIT, everyMs)))
    }
    ask.current = () => { void poll() }
    const seen = (): void => { if (!document.hidden) void poll() }
    document.addEventListener('visibilitychange', seen)
    const forget = token.on(() => { etag = null; void poll() })
    void poll()
    return () => {
      controller.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', seen)
      forget()
    }
  }, [path, everyMs])
  const current = state.path === path
  return { data: current ? state.data : undefined, error: current ? state.error : undefined, refresh: useCallback(() => ask.current(), []) }
}

export const paths = {
  experiments: '/v1/experiments',
  experiment: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}`,
  decisions: (name: string, limit: number): string => `/v1/experiments/${encodeURIComponent(name)}/decisions?limit=${limit}`,
  explanation: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/explanation`,
  distributions: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/distributions`,
  trend: (service: string): string => `/v1/services/${encodeURIComponent(service)}/trend`,
  commands: (name: string): string => `/v1/experiments/${encodeURIComponent(name)}/commands`,
}
