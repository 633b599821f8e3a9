// A token, entered once and kept for as long as this tab is open.

import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { asApiError, paths, read, token } from '../api'
import type { ApiError } from '../api'
import { Failure } from '../parts/common'

export function TokenForm({ done }: { done: () => void }): JSX.Element {
  const [value, setValue] = useState('')
  const [error, setError] = useState<ApiError | null>(null)
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => field.current?.focus(), [])
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    const before = token.get()
    token.set(value.trim())
    try {
      await read(paths.experiments)
      done()
    } catch (failure) {
      token.set(before)
      setError(asApiError(failure))
      field.current?.focus()
    }
  }
  return (
    <form class="card narrow" onSubmit={(event) => void submit(event)}>
      <h1 tabIndex={-1}>Who are you?</h1>
      <p>
        This controller wants a token: of the role <em>viewer</em> to look, of the role <em>operator</em> to decide. It
        stays in this tab, and is forgotten when the tab is closed.
      </p>
      <label>
        Token
        <input
          ref={field}
          type="password"
          autocomplete="off"
          required
          value={value}
          onInput={(event) => setValue(event.currentTarget.value)}
        />
      </label>
      {error && (
        <Failure
          error={error}
          what={error.status === 401 ? 'The controller does not know this token.' : 'That did not work.'}
        />
      )}
      <button class="primary">Continue</button>
    </form>
  )
}
