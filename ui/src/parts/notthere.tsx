// What was gone to is not there: said so, with ways on.

import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import { arrived } from './arrival'

export function NoExperiment({ name }: { name: string }): JSX.Element {
  useEffect(arrived, [])
  return (
    <>
      <h1 tabIndex={-1}>There is no experiment {name}</h1>
      <p role="status">
        It never was, or was deleted, or the address was mistyped. What it found may still be told with its{' '}
        <a href="#/services">service</a>.
      </p>
      <p>
        <a href="#/">All experiments</a> · <a href="#/new">Create one</a>
      </p>
    </>
  )
}

export function NoPage({ address }: { address: string }): JSX.Element {
  return (
    <>
      <h1 tabIndex={-1}>There is no such page</h1>
      <p>
        <code>{address}</code> leads nowhere.
      </p>
      <p>
        <a href="#/">All experiments</a> · <a href="#/services">Services</a> · <a href="#/new">Create an experiment</a>
      </p>
    </>
  )
}
