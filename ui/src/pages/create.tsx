// Create one: a form that writes the document beside it, checked as the server checks it, rehearsed before it is applied. The same page changes
// an experiment that there is. What is typed into the document is what counts, and the form follows it.

import type { JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { asApiError, paths, whole } from '../api'
import type { ApiError, Detail } from '../api'
import { versionsOf, write } from '../document'
import { EMPTY, free } from '../form'
import type { Form } from '../form'
import { applying, dryRun, see } from '../parts/apply'
import type { Seen } from '../parts/apply'
import { arrived } from '../parts/arrival'
import { Failure, Loading, Sentence } from '../parts/common'
import { Confirm } from '../parts/confirm'
import type { Action } from '../parts/confirm'
import { ExperimentForm } from '../parts/form'
import { NoExperiment } from '../parts/notthere'
import { Rehearse } from '../parts/rehearse'
import { useWhyNot } from '../parts/who'
import { read } from '../reading'
import type { Applied, Experiment } from '../types'

/** After so many milliseconds without typing the server is asked. */
const QUIET = 350
/** Milliseconds before what could not be read is read again. */
const AGAIN = 3_000

type Check = { is: 'asking' } | { is: 'valid'; applied: Applied[] } | { is: 'invalid'; error: ApiError }

/** What the page begins with: a document as it is, or a form whose name and host nobody has yet. */
interface Start {
  form: Form
  seen: Seen | null
}

/** Reads what to begin with, again until it can be read. */
function useStart(name: string | undefined): { start: Start | null; error: ApiError | null; again: () => void } {
  const [start, setStart] = useState<Start | null>(null)
  const [error, setError] = useState<ApiError | null>(null)
  const [round, setRound] = useState(0)
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    let over = false
    const ask = async (): Promise<void> => {
      try {
        const found = name
          ? { form: EMPTY, seen: await see(name) }
          : { form: unlike(await whole<{ experiments: Experiment[] }>(paths.experiments)), seen: null }
        if (over) return
        setStart(found)
        setError(null)
      } catch (failure) {
        if (over) return
        setError(asApiError(failure))
        timer = setTimeout(() => void ask(), AGAIN)
      }
    }
    setStart(null)
    void ask()
    return () => {
      over = true
      clearTimeout(timer)
    }
  }, [name, round])
  return { start, error, again: () => setRound((before) => before + 1) }
}

/** The form as it begins, not like an experiment that there is. */
const unlike = ({ experiments }: { experiments: Experiment[] }): Form =>
  free(
    experiments.map(({ name }) => name),
    experiments.flatMap(({ experiment }) => experiment.matching.hosts ?? []),
  )

export function Create({ name }: { name?: string }): JSX.Element {
  const { start, error, again } = useStart(name)
  if (start) return <Editor {...(name ? { name } : {})} start={start} again={again} />
  if (error?.status === 404 && name) return <NoExperiment name={name} />
  return (
    <>
      <h1 tabIndex={-1}>{name ? `Change ${name}` : 'Create an experiment'}</h1>
      {error ? (
        <Failure error={error} what="It cannot be read." />
      ) : (
        <Loading what={name ? 'the document' : 'what there is'} />
      )}
    </>
  )
}

function Editor({ name, start, again }: { name?: string; start: Start; again: () => void }): JSX.Element {
  const [form, setForm] = useState<Form>(() => (start.seen ? (read(start.seen.document) ?? start.form) : start.form))
  // What was typed into the document itself is what counts, to the letter, and the form follows it if it can show it whole.
  const [typed, setTyped] = useState<string | null>(start.seen?.document ?? null)
  const [before, setBefore] = useState<Form | null>(null)
  const [failed, setFailed] = useState<ApiError | null>(null)
  const [action, setAction] = useState<Action | null>(null)
  const box = useRef<HTMLTextAreaElement>(null)
  const document = typed ?? write(form)
  const [checks, setChecks] = useState(0)
  const whyNot = useWhyNot()
  const check = useCheck(document, checks, whyNot === null)
  const shows = useMemo(() => typed === null || read(typed) !== null, [typed])
  const type = (text: string): void => {
    if (typed === null) setBefore(form)
    setTyped(text)
    setForm(read(text) ?? form)
  }
  const [stands, setStands] = useState('')
  const { seen } = start
  useEffect(arrived, [])
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
  const apply = async (applied: Applied[]): Promise<void> => {
    const known = new Map<string, Seen>()
    try {
      for (const { name: one, result } of applied)
        if (result !== 'created') known.set(one, one === name && seen ? seen : await see(one))
      setFailed(null)
    } catch (error) {
      setFailed(asApiError(error))
      return
    }
    const carryOut = applying(document, applied, known)
    setStands('')
    setAction({
      title: `${applied.some(({ result }) => result === 'created') ? 'Create' : 'Change'} ${applied.map((one) => one.name).join(', ')}?`,
      consequence: <Consequence applied={applied} document={document} form={shows ? form : null} />,
      verb: 'Apply',
      reasonless: true,
      run: async (_, key) => {
        const done = await carryOut(key)
        location.hash = `#/experiments/${encodeURIComponent(done[0]?.name ?? '')}`
      },
      look: () => {
        setChecks((before) => before + 1)
        void standing(
          applied.map((one) => one.name),
          document,
        ).then(setStands)
      },
    })
  }
  return (
    <>
      <h1 tabIndex={-1}>{name ? `Change ${name}` : 'Create an experiment'}</h1>
      {failed && <Failure error={failed} what="What it changes cannot be read." />}
      <div class={shows || !name ? 'create' : 'create one-column'}>
        {(shows || !name) && (
          <div>
            {before && typed !== null && (
              <div class="notice wait">
                <p>
                  The document was edited by hand: it is what counts now.{' '}
                  {shows
                    ? 'The form follows it. What is changed in the form writes it anew, without its comments.'
                    : 'The form cannot show it.'}
                </p>
                <button
                  type="button"
                  onClick={() => {
                    setForm(before)
                    setBefore(null)
                    setTyped(null)
                  }}
                >
                  Back to the form, without these edits
                </button>
              </div>
            )}
            {shows && (
              <ExperimentForm
                form={form}
                set={(next) => {
                  setForm(next)
                  setBefore(null)
                  setTyped(null)
                }}
                problems={problems}
              />
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
            onInput={(event) => type(event.currentTarget.value)}
          />
          <div id="check" role="status">
            {whyNot ? <p class="notice wait">{whyNot}</p> : <Checked check={check} jump={jump} />}
          </div>
          <div class="buttons">
            <button
              type="button"
              class="primary"
              disabled={check.is !== 'valid' || check.applied.every(({ result }) => result === 'unchanged')}
              onClick={() => {
                if (check.is === 'valid') void apply(check.applied)
              }}
            >
              Apply …
            </button>
            {name && (
              <button type="button" onClick={again}>
                Read it anew, without these edits
              </button>
            )}
          </div>
        </section>
      </div>
      {!whyNot && (check.is !== 'invalid' || versions.length > 1) && versions.length > 1 && (
        <Rehearse document={document} versions={versions} valid={check.is === 'valid'} />
      )}
      {action && <Confirm action={action} stands={stands} close={() => setAction(null)} />}
    </>
  )
}

/** How each experiment of a document stands, for whoever does not know whether it was applied. */
async function standing(names: string[], document: string): Promise<string> {
  const told = names.map(async (name) => {
    try {
      const now = await see(name)
      return now.document === document
        ? `${name} is there, with this document.`
        : `${name} is there, with another document.`
    } catch (error) {
      return asApiError(error).status === 404 ? `there is no experiment ${name}.` : `how ${name} stands cannot be read.`
    }
  })
  return (await Promise.all(told)).join(' ')
}

/** What the server says of a document, once nobody types; `asked` anew when that changes. Whoever may not apply one may not ask. */
function useCheck(document: string, asked: number, may: boolean): Check {
  const [check, setCheck] = useState<Check>({ is: 'asking' })
  useEffect(() => {
    if (!may) {
      setCheck({ is: 'asking' })
      return
    }
    const controller = new AbortController()
    const timer = setTimeout(() => {
      dryRun(document, controller.signal)
        .then((applied) => setCheck({ is: 'valid', applied }))
        .catch((error: unknown) => {
          if (!controller.signal.aborted) setCheck({ is: 'invalid', error: asApiError(error) })
        })
    }, QUIET)
    return () => {
      clearTimeout(timer)
      controller.abort()
    }
  }, [document, asked, may])
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
