// The dashboard: which page there is at which address, and whether a token is needed first.

import { render } from 'preact'
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import './style/base.css'
import './style/controls.css'
import './style/pages.css'
// After the colours of versions, of which a line takes no filling.
import './style/charts.css'
import { onUnauthorized, token } from './api'
import { goneTo } from './parts/arrival'
import { NoPage } from './parts/notthere'
import { Create } from './pages/create'
import { Decide } from './pages/decide'
import { ExperimentPage } from './pages/experiment'
import { List } from './pages/list'
import { TokenForm } from './pages/token'
import { Trend } from './pages/trend'

export interface Route {
  page: 'list' | 'experiment' | 'decide' | 'new' | 'edit' | 'trend' | 'nowhere'
  name: string
}

export function routeOf(hash: string): Route {
  const [first = '', second = '', third = '', ...more] = hash
    .replace(/^#?\/?/, '')
    .replace(/\/$/, '')
    .split('/')
    .map(plain)
  const nowhere: Route = { page: 'nowhere', name: hash }
  if (more.length > 0) return nowhere
  if (first === 'experiments' && second) {
    if (third === '') return { page: 'experiment', name: second }
    return third === 'decide' || third === 'edit' ? { page: third, name: second } : nowhere
  }
  if (third) return nowhere
  if (first === 'services') return { page: 'trend', name: second }
  if (second) return nowhere
  if (first === 'new') return { page: 'new', name: '' }
  return first === '' || first === 'experiments' ? { page: 'list', name: '' } : nowhere
}

function plain(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

const TITLES: Record<Route['page'], (name: string) => string> = {
  list: () => 'What is running?',
  experiment: (name) => name,
  decide: (name) => `Decide: ${name}`,
  new: () => 'Create an experiment',
  edit: (name) => `Change ${name}`,
  nowhere: () => 'There is no such page',
  trend: (name) => (name ? `How has ${name} evolved?` : 'How have services evolved?'),
}

function App(): JSX.Element {
  const [route, setRoute] = useState(() => routeOf(location.hash))
  const [wanted, setWanted] = useState(false)
  const [secret, setSecret] = useState(token.get())
  const main = useRef<HTMLElement>(null)
  const arrived = useRef(false)

  useEffect(() => {
    const go = (): void => setRoute(routeOf(location.hash))
    addEventListener('hashchange', go)
    const hear = onUnauthorized(() => setWanted(true))
    const changed = token.on(() => setSecret(token.get()))
    return () => {
      removeEventListener('hashchange', go)
      hear()
      changed()
    }
  }, [])
  useEffect(() => {
    document.title = `${TITLES[route.page](route.name)} · Weir`
    // A new page begins at its heading, for the eye and for a screen reader; the first is where the browser puts it.
    if (arrived.current) {
      scrollTo(0, 0)
      goneTo()
    }
    arrived.current = true
  }, [route])

  const here = (page: Route['page']): { 'aria-current'?: 'page' } =>
    route.page === page ? { 'aria-current': 'page' } : {}
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          main.current?.focus()
        }}
      >
        Skip to the content
      </a>
      <header>
        <a class="brand" href="#/">
          <img src="/icon.svg" width="24" height="24" alt="" /> Weir
        </a>
        <nav aria-label="Pages">
          <a href="#/" {...here('list')}>
            Experiments
          </a>
          <a href="#/services" {...here('trend')}>
            Services
          </a>
          <a href="#/new" {...here('new')}>
            Create
          </a>
        </nav>
        {secret && (
          <button
            type="button"
            class="quiet"
            onClick={() => {
              token.set('')
              setWanted(true)
            }}
          >
            Forget token
          </button>
        )}
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {wanted ? <TokenForm done={() => setWanted(false)} /> : <Page {...route} />}
      </main>
    </>
  )
}

function Page({ page, name }: Route): JSX.Element {
  switch (page) {
    case 'experiment':
      return <ExperimentPage key={name} name={name} />
    case 'decide':
      return <Decide key={name} name={name} />
    case 'new':
      return <Create key="new" />
    case 'edit':
      return <Create key={name} name={name} />
    case 'trend':
      return <Trend key={name} service={name} />
    case 'nowhere':
      return <NoPage address={name} />
    case 'list':
      return <List />
  }
}

const root = document.getElementById('app')
if (root) {
  root.replaceChildren()
  render(<App />, root)
}
