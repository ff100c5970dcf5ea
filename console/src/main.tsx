/** The console of a Millrace gateway. */
import { createRoot } from 'react-dom/client'
import { App } from './shell/app.tsx'
import { apply, storedTheme } from './shell/theme.ts'
import './styles/base.css'
import './styles/views.css'
import './styles/pages.css'
import './styles/work.css'

apply(storedTheme())
createRoot(document.getElementById('app') as HTMLElement).render(<App />)
