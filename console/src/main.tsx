/** The console of a Millrace gateway. */
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './shell/app.tsx'
import { apply, kept } from './shell/theme.ts'
import './styles/base.css'
import './styles/views.css'

apply(kept())
createRoot(document.getElementById('app') as HTMLElement).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
