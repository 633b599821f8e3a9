// The head of an experiment's pages: its name, how it stands, what is wrong, and the way between the pages.

import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import type { Experiment, Explanation } from '../types'
import { arrived } from './arrival'
import { PhaseBadge, Sentence, WeightBar, attention } from './common'

/** A sentence of the story without what to type in a terminal: here there are buttons. */
const forThePage = (text: string): string => text.replace(/ \(`weir [^`]*`\)| `weir resume [^`]*` goes on\./g, '')

export function Header({
  experiment,
  page,
  told,
}: {
  experiment: Experiment
  page: 'experiment' | 'decide'
  told?: Explanation | undefined
}): JSX.Element {
  useEffect(arrived, [])
  const address = `#/experiments/${encodeURIComponent(experiment.name)}`
  const found = attention(experiment)
  const wrong = [
    ...new Set([
      ...found.filter(({ kind }) => kind === 'bad').map(({ text }) => text),
      ...(told?.warnings ?? experiment.assessment?.warnings ?? []),
    ]),
  ]
  const waits = found.filter(({ kind }) => kind === 'wait')
  const here = (of: string): { 'aria-current'?: 'page' } => (of === page ? { 'aria-current': 'page' } : {})
  return (
    <>
      <div class="line-up">
        <h1 tabIndex={-1}>
          {page === 'decide' ? 'Decide: ' : ''}
          {experiment.name}
        </h1>
        <PhaseBadge experiment={experiment} />
        <span class="muted">
          of <a href={`#/services/${encodeURIComponent(experiment.service)}`}>{experiment.service}</a>
        </span>
      </div>
      <nav class="tabs" aria-label={`Pages of ${experiment.name}`}>
        <a href={address} {...here('experiment')}>
          How is it doing?
        </a>
        <a href={`${address}/decide`} {...here('decide')}>
          Let me decide
        </a>
      </nav>
      <WeightBar experiment={experiment} />
      {waits.length > 0 && (
        <div class="notice wait" role="status">
          {waits.map(({ text }) => (
            <p key={text}>
              <strong>{text.charAt(0).toUpperCase() + text.slice(1)}.</strong>{' '}
              {page === 'experiment' && <a href={`${address}/decide`}>Decide</a>}
            </p>
          ))}
        </div>
      )}
      {wrong.length > 0 && (
        <div class="notice bad">
          <p>
            <strong>Before you trust the numbers:</strong>
          </p>
          <ul>
            {wrong.map((text) => (
              <li key={text}>
                <Sentence text={text} />
              </li>
            ))}
          </ul>
        </div>
      )}
      {told && (
        <p>
          {told.stands.map(forThePage).map((text) => (
            <span key={text}>
              <Sentence text={text} />{' '}
            </span>
          ))}
        </p>
      )}
      {told && page === 'experiment' && (
        <details>
          <summary>What it is</summary>
          <ul>
            {told.what.map((text) => (
              <li key={text}>
                <Sentence text={text} />
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  )
}
