// The token, for as long as this tab is open.

const TOKEN = 'weir-token'
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
    return () => {
      listeners.delete(listener)
    }
  },
}
