// Create one: a form that writes the document beside it, checked as the server checks it, rehearsed before it is applied. The same page changes
// an experiment that there is: then the document is edited itself.

import type { JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { ApiError, paths, read, send } from '../api'
import type { Detail } from '../api'
import { EMPTY, versionsOf, write } from '../document'
import type { Form } from '../document'
import { Failure, Sentence } from '../parts/common'
import { Confirm } from '../parts/confirm'
import type { Action } from '../parts/confirm'
import { ExperimentForm } from '../parts/form'
import { Rehearse } from '../parts/rehearse'
import type { Applied, Experiment } from '../types'

/** After so many milliseconds without typing the server is asked. */
const QUIET = 350

type Check = { is: 'asking' } | { is: 'valid'; applied: Applied[] } | { is: 'invalid'; error: ApiError }

export function Create({ name }: { name?: string }): JSX.Element {
  const [form, setForm] = useState<Form>(EMPTY)
  // What was typed into the document itself: then it, and no longer the form, is what counts.
  const [typed, setTyped] = useState<string | null>(null)
  const [missing, setMissing] = useState<ApiError | null>(null)
  const [action, setAction] = useState<Action | null>(null)
  const box = useRef<HTMLTextAreaElement>(null)
  const document = typed ?? write(form)
  const check = useCheck(document)
  useEffect(() => {
    if (!name) return
    read<Experiment>(paths.experiment(name))
      .then((found) => setTyped(found.document ?? ''))
      .catch((error: unknown) => setMissing(error instanceof ApiError ? error : new ApiError(0, String(error))))
  }, [name])
  const versions = useMemo(() => versionsOf(document), [document])
  const problems = check.is === 'invalid' ? check.error.problems : []
  const jump = (line: number): void => {
    const text = box.current
    if (!text) return
    const from = document
      .split('\n')
      .slice(0, line - 1)
      .reduce((sum, each) => sum + each.length + 1, 0)
    text.focus()
    text.setSelectionRange(from, from + (document.split('\n')[line - 1]?.length ?? 0))
  }
  const apply = (applied: Applied[]): void =>
    setAction({
      title: `${applied.some(({ result }) => result === 'created') ? 'Create' : 'Change'} ${applied.map((one) => one.name).join(', ')}?`,
      consequence: <Consequence applied={applied} document={document} form={typed === null ? form : null} />,
      verb: 'Apply',
      reasonless: true,
      run: async () => {
        const done = await send<{ experiments: Applied[] }>('POST', paths.experiments, document)
        location.hash = `#/experiments/${encodeURIComponent(done.experiments[0]?.name ?? '')}`
      },
    })
  return (
    <>
      <h1 tabIndex={-1}>{name ? `Change ${name}` : 'Create an experiment'}</h1>
      {missing && <Failure error={missing} what="The document cannot be read." />}
      <div class={name ? 'create one-column' : 'create'}>
        {!name && (
          <div>
            {typed !== null ? (
              <div class="notice wait">
                <p>The document was edited by hand: it is what counts now.</p>
                <button type="button" onClick={() => setTyped(null)}>
                  Back to the form, without these edits
                </button>
              </div>
            ) : (
              <ExperimentForm form={form} set={setForm} problems={problems} />
            )}
          </div>
        )}
        <section class="beside" aria-labelledby="document-title">
          <h2 id="document-title">The document</h2>
          <label class="unseen" for="document">
            The document, YAML
          </label>
          <textarea
            id="document"
            ref={box}
            class="code"
            spellcheck={false}
            rows={Math.max(14, document.split('\n').length + 1)}
            value={document}
            aria-describedby="check"
            aria-invalid={check.is === 'invalid'}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
          <div id="check" role="status">
            <Checked check={check} jump={jump} />
          </div>
          <div class="buttons">
            <button
              type="button"
              class="primary"
              disabled={check.is !== 'valid' || check.applied.every(({ result }) => result === 'unchanged')}
              onClick={() => {
                if (check.is === 'valid') apply(check.applied)
              }}
            >
              Apply …
            </button>
          </div>
        </section>
      </div>
      {(check.is !== 'invalid' || versions.length > 1) && versions.length > 1 && (
        <Rehearse document={document} versions={versions} valid={check.is === 'valid'} />
      )}
      {action && <Confirm action={action} close={() => setAction(null)} />}
    </>
  )
}

/** What the server says of a document, once nobody types. */
function useCheck(document: string): Check {
  const [check, setCheck] = useState<Check>({ is: 'asking' })
  useEffect(() => {
    const controller = new AbortController()
    const timer = setTimeout(() => {
      send<{ experiments: Applied[] }>('POST', `${paths.experiments}?dryRun=true`, document, controller.signal)
        .then(({ experiments }) => setCheck({ is: 'valid', applied: experiments }))
        .catch((error: unknown) => {
          if (!controller.signal.aborted)
            setCheck({ is: 'invalid', error: error instanceof ApiError ? error : new ApiError(0, String(error)) })
        })
    }, QUIET)
    return () => {
      clearTimeout(timer)
      controller.abort()
    }
  }, [document])
  return check
}

function Checked({ check, jump }: { check: Check; jump: (line: number) => void }): JSX.Element {
  if (check.is === 'asking') return <p class="muted">Checking …</p>
  if (check.is === 'valid') {
    return (
      <div class="notice good">
        {check.applied.map(({ name, result, reasons }) => (
          <div key={name}>
            <p>
              <strong>Valid.</strong>{' '}
              {result === 'created'
                ? `It would create ${name}.`
                : result === 'changed'
                  ? `It would change ${name}.`
                  : `${name} is just so already.`}
            </p>
            {reasons && reasons.length > 0 && (
              <ul>
                {reasons.map((reason) => (
                  <li key={reason}>
                    <Sentence text={reason} />
                  </li>
                ))}
              </ul>
            )}
          </div>
        ))}
      </div>
    )
  }
  const { error } = check
  if (error.problems.length === 0) return <Failure error={error} what="It cannot be applied." />
  return (
    <div class="notice bad">
      <p>
        <strong>{error.message}</strong>
      </p>
      <ul>
        {error.problems.map((problem) => (
          <Problem key={`${problem.line}${problem.path}${problem.message}`} problem={problem} jump={jump} />
        ))}
      </ul>
    </div>
  )
}

function Problem({ problem, jump }: { problem: Detail; jump: (line: number) => void }): JSX.Element {
  const { line } = problem
  return (
    <li>
      {line !== undefined && (
        <button type="button" class="link" onClick={() => jump(line)}>
          Line {line}
        </button>
      )}{' '}
      <code>{problem.path}</code> <Sentence text={problem.message} />
    </li>
  )
}

function Consequence({
  applied,
  document,
  form,
}: {
  applied: Applied[]
  document: string
  form: Form | null
}): JSX.Element {
  const created = applied.filter(({ result }) => result === 'created')
  const waits = /approvals:.*start: true/s.test(document)
  const where = form?.hosts.trim() ? `Requests for ${form.hosts.trim()}` : 'Requests that match it'
  return (
    <>
      {created.length > 0 &&
        (waits ? (
          <p>
            It waits until somebody starts it: until then all of its traffic goes to the baseline, and nothing is
            counted.
          </p>
        ) : (
          <p>
            {where} are split at once, as its strategy begins, and from then on weights move by themselves
            {/approvals:/.test(document) ? ', with the approvals that it asks for' : ''}.
          </p>
        ))}
      {applied
        .flatMap(({ reasons }) => reasons ?? [])
        .map((reason) => (
          <p key={reason}>
            <Sentence text={reason} />
          </p>
        ))}
      {created.length > 0 && <p>Deleting it later sends everything back to the baseline.</p>}
    </>
  )
}
