import {defineConfig} from 'vite';

export default defineConfig({
  base: './', // the page also works below a reverse proxy's path
  esbuild: {jsx: 'automatic', jsxImportSource: 'preact'},
  build: {
    target: 'es2020',
    assetsInlineLimit: 0, // the Content-Security-Policy knows no data: scripts or styles
    modulePreload: {polyfill: false},
    chunkSizeWarningLimit: 600, // hls.js
  },
  // `npm run dev`: the page from here, the streams from a cluster on this machine (`make run`).
  server: {proxy: {'^/(?!src/).+\\.(flv|ts|m3u8|m4s|mp4)(\\?.*)?$': process.env.SLUICE_HTTP ?? 'http://127.0.0.1:8080'}},
});
