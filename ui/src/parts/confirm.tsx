// A confirmation: names the consequence, asks for the reason that the API wants, and does it.

import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { ApiError } from '../api'
import { Failure } from './common'

const MAX_REASON = 1_000

export interface Action {
  /** The heading: what is about to be done, as a question. */
  title: string
  /** What will follow. */
  consequence: ComponentChildren
  /** On the button. */
  verb: string
  danger?: boolean
  /** Without one no reason is asked for. */
  reasonless?: boolean
  run: (reason: string) => Promise<void>
}

export function Confirm({ action, close }: { action: Action; close: (done: boolean) => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  const [reason, setReason] = useState('')
  const [error, setError] = useState<ApiError | null>(null)
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    const before = document.activeElement
    dialog.current?.showModal()
    return () => {
      if (before instanceof HTMLElement) before.focus()
    }
  }, [])
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    setError(null)
    try {
      await action.run(reason.trim())
      close(true)
    } catch (failure) {
      setError(failure instanceof ApiError ? failure : new ApiError(0, String(failure)))
      setBusy(false)
    }
  }
  return (
    <dialog
      ref={dialog}
      aria-labelledby="confirm-title"
      aria-describedby="confirm-consequence"
      onClose={() => close(false)}
    >
      <form onSubmit={(event) => void submit(event)}>
        <h2 id="confirm-title">{action.title}</h2>
        <div id="confirm-consequence" class="consequence">
          {action.consequence}
        </div>
        {!action.reasonless && (
          <label>
            Why? It is kept, for whoever asks later.
            <textarea
              required
              maxLength={MAX_REASON}
              rows={3}
              value={reason}
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          </label>
        )}
        {error && <Failure error={error} what="Nothing was changed." />}
        <div class="buttons">
          <button type="button" onClick={() => close(false)}>
            Leave it as it is
          </button>
          <button
            class={action.danger ? 'danger' : 'primary'}
            disabled={busy || (!action.reasonless && reason.trim() === '')}
          >
            {busy ? 'Working …' : action.verb}
          </button>
        </div>
      </form>
    </dialog>
  )
}
