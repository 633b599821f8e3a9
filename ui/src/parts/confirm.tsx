// A confirmation: names the consequence, asks for the reason that the API wants, and does it: once, however often it has to be sent.

import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { asApiError, newKey } from '../api'
import type { ApiError } from '../api'
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
  /** Does it. The key is the same for each attempt of which it is not known whether it was done. */
  run: (reason: string, key: string) => Promise<void>
  /** Looks how things stand, when that did not work. */
  look: () => void
}

/** What to say of an attempt that failed; `lost`: of this one or one before it is not known whether it was done. */
export function failureWord(error: ApiError, lost: boolean): string {
  if (error.unknown) return 'It is not known whether this was done.'
  return lost ? 'This attempt changed nothing; whether an earlier one did is not known.' : 'Nothing was changed.'
}

export function Confirm({
  action,
  stands,
  close,
}: {
  action: Action
  /** How things stand now, in a sentence: told where it is not known whether this was done. */
  stands: string
  close: (done: boolean) => void
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  const key = useRef(newKey())
  const [reason, setReason] = useState('')
  const [error, setError] = useState<ApiError | null>(null)
  const [lost, setLost] = useState(false)
  const [busy, setBusy] = useState(false)
  /** Whether the next attempt is the same as the last, of which it is not known whether it was done. */
  const [resends, setResends] = useState(false)
  useEffect(() => {
    const before = document.activeElement
    dialog.current?.showModal()
    return () => {
      // What opened it may be gone by what was done: then the page's heading is where one is.
      const back = before instanceof HTMLElement && before.isConnected ? before : document.querySelector('main h1')
      if (back instanceof HTMLElement) back.focus()
    }
  }, [])
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    try {
      // A reason is one line.
      await action.run(reason.trim().replace(/\s+/g, ' '), key.current)
      close(true)
    } catch (failure) {
      const told = asApiError(failure)
      setError(told)
      const open = told.unknown || (resends && told.unseen)
      setResends(open)
      if (told.unknown) setLost(true)
      // What was refused is kept with its key, and would be answered so again.
      if (!open) key.current = newKey()
      action.look()
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
              // What is sent again is the same to the letter.
              readOnly={resends}
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          </label>
        )}
        {error && <Failure error={error} what={failureWord(error, lost)} />}
        {lost && (
          <p role="status">
            <strong>Now:</strong> {stands}
            {resends && ' Trying again is safe: it is done once, even if the first attempt arrived.'}
          </p>
        )}
        <div class="buttons">
          <button type="button" onClick={() => close(false)}>
            {lost ? 'Close' : 'Leave it as it is'}
          </button>
          <button
            class={action.danger ? 'danger' : 'primary'}
            disabled={busy || (!action.reasonless && reason.trim() === '')}
          >
            {busy ? 'Working …' : resends ? 'Try again' : action.verb}
          </button>
        </div>
      </form>
    </dialog>
  )
}
