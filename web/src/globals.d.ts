/** hls.js without subtitles, alternative audio and DRM: half the size, the same types. */
declare module 'hls.js/light' {
  export * from 'hls.js';
  export {default} from 'hls.js';
}
