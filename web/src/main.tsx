import {render} from 'preact';
import {App} from './ui/app';
import './style.css';

render(<App />, document.getElementById('app')!);
